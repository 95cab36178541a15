"""Is the test set like the training set? And what to do when only its class shares differ."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline, make_union

from common.console import InputError, print_once
from common.examples import TextExample
from common.files import read_json
from common.logits import Logits
from common.run import read_config
from common.tricks.sampling import target_counts

NUM_FOLDS = 5
NUM_FEATURES = 15


def adversarial_validation(
    train_texts: Sequence[str], test_texts: Sequence[str], groups_train: Sequence, groups_test: Sequence, seed: int
) -> dict:
    """How well TF-IDF logistic regression tells test rows from training rows: 0.5 no shift to see, 1 fully apart.

    Words (1-2 grams) and characters (2-4 grams within words); 5 folds, grouped, out of fold. groups_train, groups_test:
    an id for each row; rows with the same id, on either side, stay in one fold. Returns {"auc", "standard_error",
    "features"}: the standard error is that of Hanley & McNeil 1982, eq. 1, which takes rows as independent (too small
    where groups are large); features are the 15 with the largest absolute coefficients on all rows, {"feature":
    "word:..." or "char:...", "coefficient"}, above 0 for test.

    Raises InputError when one side has fewer than 5 groups.
    """
    for side, groups in (("training", groups_train), ("test", groups_test)):
        if len(set(groups)) < NUM_FOLDS:
            raise InputError(
                f"the {side} rows have {len(set(groups))} groups; telling training from test rows needs at least "
                f"{NUM_FOLDS}"
            )
    texts = [*train_texts, *test_texts]
    is_test = np.repeat([0, 1], [len(train_texts), len(test_texts)])
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    chars = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True)
    model = make_pipeline(make_union(words, chars), LogisticRegression(class_weight="balanced", max_iter=1000))
    folds = StratifiedGroupKFold(NUM_FOLDS, shuffle=True, random_state=seed)
    scores = cross_val_predict(
        model, texts, is_test, groups=[*groups_train, *groups_test], cv=folds, method="decision_function"
    )
    auc = float(roc_auc_score(is_test, scores))

    model.fit(texts, is_test)
    coefficients = model[-1].coef_[0]
    names = [f"word:{name}" for name in words.get_feature_names_out()] + [
        f"char:{name}" for name in chars.get_feature_names_out()
    ]
    largest = np.argsort(-np.abs(coefficients), kind="stable")[:NUM_FEATURES]
    features = [{"feature": names[index], "coefficient": float(coefficients[index])} for index in largest]
    return {
        "auc": auc,
        "standard_error": auc_standard_error(auc, len(test_texts), len(train_texts)),
        "features": features,
    }


def compare_files(examples: dict[str, Sequence[TextExample]], seed: int) -> str:
    """A sentence on how well the texts of the training rows and those of the test rows can be told apart; groups as in
    the folds.

    examples: rows by "train" and "test"; a row's text is all of it but its context. Raises InputError where there are
    no test rows.
    """
    if "test" not in examples:
        raise InputError("adversarial_validation: compares train_file with test_file, and none was given")
    train = examples["train"]
    test = examples["test"]
    texts = [[" ".join(row.own) for row in rows] for rows in (train, test)]
    shift = adversarial_validation(*texts, [row.group for row in train], [f"test {row.group}" for row in test], seed)
    telling = ", ".join(f"{feature['feature']!r}" for feature in shift["features"][:5])
    auc = f"AUC {shift['auc']:.3f} ± {shift['standard_error']:.3f}"
    return f"adversarial validation: {auc} of telling train from test rows; most telling: {telling}"


def auc_standard_error(auc: float, num_positive: int, num_negative: int) -> float:
    """Standard error of an area under the ROC curve; Hanley & McNeil 1982, eq. 1 with their exponential Q1 and Q2 (eq.
    2)."""
    q1 = auc / (2 - auc)
    q2 = 2 * auc**2 / (1 + auc)
    variance = auc * (1 - auc) + (num_positive - 1) * (q1 - auc**2) + (num_negative - 1) * (q2 - auc**2)
    return float(np.sqrt(variance / (num_positive * num_negative)))


def estimate_priors(probs: np.ndarray, train_priors: np.ndarray) -> tuple[np.ndarray, int]:
    """Class shares (C,) of unlabelled rows by EM, and the number of iterations (10000 when it has not settled to 1e-8).

    probs: (N, C) calibrated posteriors of a model trained at train_priors (C,), all above 0. Assumes that p(x | class)
    is the same in both. Saerens, Latinne & Decaestecker 2002 "Adjusting the Outputs of a Classifier to New a Priori
    Probabilities", eq. 2.9.
    """
    priors = train_priors
    change = np.inf
    num_iterations = 0
    while change > 1e-8 and num_iterations < 10_000:
        previous = priors
        priors = correct_priors(probs, train_priors, priors).mean(0)
        change = np.abs(priors - previous).max()
        num_iterations += 1
    return priors, num_iterations


def correct_priors(probs: np.ndarray, train_priors: np.ndarray, new_priors: np.ndarray) -> np.ndarray:
    """Posteriors (N, C) as they would be had the classes had shares new_priors (C,); Saerens et al. 2002, eq. 2.4."""
    weighted = probs * (new_priors / train_priors)
    return weighted / weighted.sum(1, keepdims=True)


def learned_shares(class_counts: Sequence[int], config: dict[str, Any]) -> np.ndarray:
    """The shares (C,) that a fold's training gave the classes: those of its rows, changed as class_weight_strength and
    feature_oversample_ratio of the run's config do. A class without rows counts as one row."""
    counts = np.maximum(class_counts, 1)
    seen = target_counts(counts, config.get("feature_oversample_ratio", 0.0), 0.0)
    learned = seen * counts.astype(np.float64) ** -config.get("class_weight_strength", 0.0)
    return learned / learned.sum()


def correct_logits(
    logits: Logits, shares: Sequence[np.ndarray], weights: Sequence[float] | None = None
) -> tuple[Logits, np.ndarray]:
    """Logits for the label shares that EM finds in these rows, and these shares (C,).

    shares: those that each averaged model has learned, (C,) and above 0; the mean of logits has their geometric mean.
    weights: of the models, equal by default.
    """
    learned = np.exp(np.average(np.log(shares), axis=0, weights=weights))
    train_priors = learned / learned.sum()
    priors, _ = estimate_priors(logits.probabilities(), train_priors)
    return replace(logits, logits=logits.logits + np.log(np.maximum(priors, 1e-12) / train_priors)), priors


def correct_folds(logits: Logits, folds: Sequence[Path], weights: Sequence[float]) -> Logits:
    """correct_logits() of the average over these folds of one or several runs; prints the shares that it found."""
    if logits.label_names.kind not in ("classes", "ordered"):
        raise InputError("prior_correction: corrects the shares of classes, the labels of these runs are none")
    counts = [read_json(fold / "fold.json")["train_class_counts"] for fold in folds]
    configs = [read_config(fold.parent) for fold in folds]
    logits, shares = correct_logits(logits, list(map(learned_shares, counts, configs)), weights)
    named = ", ".join(f"{name} {share:.3f}" for name, share in zip(logits.label_names, shares, strict=True))
    print_once(f"label shares of the test file by EM: {named}")
    return logits
