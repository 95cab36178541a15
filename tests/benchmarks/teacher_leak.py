"""How optimistic are out-of-fold scores of a student whose soft labels are out-of-fold, too?

python tests/benchmarks/teacher_leak.py friends --train_file T.json --eval_file D.json

The soft label of a row of fold j comes from a model that has trained on fold k; the student that is measured on fold k
learns from it. Teacher and student are here naive Bayes and nearest neighbours over TF-IDF of the rows' own texts, which
take seconds. What a student gains over its teacher out of fold is set against what it gains on the eval_file, where
both are trained on all rows; and the same with the labels permuted among the training rows, where nothing is to be
learned. own_fold: what the model of the student's own fold, which has not seen the rows that it is measured on, says of
the rows that it was trained on. What out_of_fold gains out of fold, and not on the eval_file, it has been told.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer

from common.console import ArgumentParser, run_main
from common.examples import groups_of, labels_of
from common.folds import split_folds
from common.options.task_module import arguments_of, load_data_module

NEIGHBOURS = 10
Learner = Callable[[sparse.csr_matrix, np.ndarray, sparse.csr_matrix], np.ndarray]


def naive_bayes(train: sparse.csr_matrix, targets: np.ndarray, rows: sparse.csr_matrix) -> np.ndarray:
    """(M, C) probabilities of rows (M, F) by a multinomial model of train (N, F) with soft targets (N, C)."""
    counts = np.asarray(train.T @ targets).T + 0.1
    scores = rows @ np.log(counts / counts.sum(axis=1, keepdims=True)).T + np.log(targets.mean(axis=0) + 1e-9)
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    return scores / scores.sum(axis=1, keepdims=True)


def neighbours(train: sparse.csr_matrix, targets: np.ndarray, rows: sparse.csr_matrix) -> np.ndarray:
    """(M, C): mean target of the NEIGHBOURS nearest rows by cosine, weighted by it, with one row's weight of prior."""
    prior = targets.mean(axis=0)
    found = []
    for start in range(0, rows.shape[0], 500):
        cosine = (rows[start : start + 500] @ train.T).toarray()
        nearest = np.argpartition(-cosine, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
        weight = np.take_along_axis(cosine, nearest, axis=1)
        total = (weight[:, :, None] * targets[nearest]).sum(axis=1) + prior
        found.append(total / total.sum(axis=1, keepdims=True))
    return np.concatenate(found)


LEARNERS: dict[str, Learner] = {"naive Bayes": naive_bayes, "neighbours": neighbours}


def gain(student: np.ndarray, teacher: np.ndarray, labels: np.ndarray) -> str:
    """By how much the log loss is lower and the accuracy higher, with paired standard errors over rows."""
    place = np.arange(len(labels))
    losses = [-np.log(part[place, labels] + 1e-12) for part in (teacher, student)]
    hits = [(part.argmax(axis=1) == labels).astype(float) for part in (student, teacher)]
    cells = []
    for first, second in (losses, hits):
        difference = first - second
        cells.append(f"{difference.mean():+.4f} ± {difference.std() / np.sqrt(len(labels)):.4f}")
    return " | ".join(cells)


def main() -> None:
    parser = ArgumentParser("python tests/benchmarks/teacher_leak.py", __doc__)
    parser.add_argument("task", type=Path)
    parser.add_argument("--train_file", required=True)
    parser.add_argument("--eval_file", required=True)
    parser.add_argument("--num_folds", type=int, default=5)
    parser.add_argument("--weight", type=float, default=0.5, help="of the soft labels")
    parser.add_argument("--seed", type=int, default=0, help="of the permutation")
    args = parser.parse_args()
    data = load_data_module(args.task)
    preprocessing = data.make_preprocessing(arguments_of(data)(train_file=args.train_file))
    train, held = (data.read_examples(path, preprocessing) for path in (args.train_file, args.eval_file))
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    x = vectorizer.fit_transform([row.segments[row.main] for row in train])
    x_eval = vectorizer.transform([row.segments[row.main] for row in held])
    true, true_eval = labels_of(train), labels_of(held)
    splits = split_folds(true, groups_of(train), args.num_folds, 42)
    columns = "log loss, out of fold | accuracy, out of fold | log loss, eval | accuracy, eval"
    print(f"| learner | labels | soft labels | {columns} |")
    print("|---|---|---|---|---|---|---|")
    for name, learn in LEARNERS.items():
        for kind, labels in (("true", true), ("permuted", np.random.default_rng(args.seed).permutation(true))):
            hard = np.eye(int(true.max()) + 1)[labels]
            teacher = np.zeros_like(hard)
            for rows, out in splits:
                teacher[out] = learn(x[rows], hard[rows], x[out])
            teacher_eval = learn(x, hard, x_eval)
            for source in ("out_of_fold", "own_fold"):
                student = np.zeros_like(hard)
                for rows, out in splits:
                    soft = teacher[rows] if source == "out_of_fold" else learn(x[rows], hard[rows], x[rows])
                    mixed = (1 - args.weight) * hard[rows] + args.weight * soft
                    student[out] = learn(x[rows], mixed, x[out])
                soft = teacher if source == "out_of_fold" else learn(x, hard, x)
                student_eval = learn(x, (1 - args.weight) * hard + args.weight * soft, x_eval)
                cells = [gain(student, teacher, labels), gain(student_eval, teacher_eval, true_eval)]
                print(f"| {name} | {kind} | {source} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    run_main(main, again="start the same command again")
