"""Tables of settings against a base on the same rows."""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import norm

from common.logits import Logits
from common.metrics import compute_metrics

KLUE_RE_METRICS = {"micro F1": "klue_micro_f1", "AUPRC": "klue_auprc"}


def paired_table(
    results: dict[str, Logits],
    claims: dict[str, str],
    seconds: float,
    columns: dict[str, str],
    task_metrics: Callable[[Logits], dict[str, float]] = lambda logits: {},
) -> str:
    """Markdown of the settings that are done, the base first; rows are right or wrong by the base's labels.

    claims: what the source says of a setting's accuracy against the base: "worse", "better", "hoped better" or nothing.
    Differences are paired, their standard errors are over rows; Holm's correction (two-sided, normal) is over the
    settings in the table. columns: title -> key of compute_metrics or task_metrics, beside the accuracy; macro F1 has
    the standard error of 200 bootstrap samples of the rows.
    """
    base = next(iter(results.values()))
    aligned = {name: logits.reorder(base.ids) for name, logits in results.items()}
    correct = {name: logits.logits.argmax(axis=1) == base.labels for name, logits in aligned.items()}
    differences = [paired_difference(rows, correct["base"]) for rows in list(correct.values())[1:]]
    p_values = holm([2 * norm.sf(abs(d) / error) if error else 1.0 for d, error in differences])
    majority = compute_metrics(base.logits, base.labels, base.label_names)["majority_share"]
    lines = [
        f"{len(base.labels)} rows, majority {majority:.3f}, {seconds:.0f} s of training",
        "",
        f"| setting | accuracy | {' | '.join(columns)} | difference | p (Holm) | the source says | here |",
        "|---|---|" + "---|" * len(columns) + "---|---|---|---|",
    ]
    for number, (name, logits) in enumerate(aligned.items()):
        logits.labels = base.labels  # relabelled rows are trained on, not measured against
        metrics = {**compute_metrics(logits.logits, logits.labels, logits.label_names), **task_metrics(logits)}
        scores = f"{metrics['accuracy']:.3f} ± {metrics['standard_error']:.3f}"
        for key in columns.values():
            scores += f" | {metrics[key]:.3f}" + (f" ± {macro_f1_error(logits):.3f}" if key == "macro_f1" else "")
        if number == 0:
            lines.append(f"| {name} | {scores} | | | | |")
            continue
        (difference, error), p = differences[number - 1], p_values[number - 1]
        lines.append(
            f"| {name} | {scores} | {difference:+.3f} ± {error:.3f} | {p:.3f} | {claims[name]} | "
            f"{verdict(difference, p, claims[name])} |"
        )
    return "\n".join(lines) + "\n"


def macro_f1_error(logits: Logits, samples: int = 200) -> float:
    """Its standard deviation over samples of the rows, drawn with replacement."""
    n = len(logits.labels)
    drawn = [
        compute_metrics(logits.logits[rows], logits.labels[rows], logits.label_names)["macro_f1"]
        for rows in np.random.default_rng(0).integers(n, size=(samples, n))
    ]
    return float(np.std(drawn, ddof=1))


def verdict(difference: float, p: float, claim: str) -> str:
    """supported, contradicted or undecided; without a claim, better, worse or undecided."""
    if p >= 0.05:
        return "undecided"
    if not claim:
        return "worse" if difference < 0 else "better"
    return "supported" if (difference < 0) == (claim == "worse") else "contradicted"


def paired_difference(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Accuracy of a minus that of b on the same rows, and the standard error of this difference.

    a, b: (N,) bool, whether each model is right on row i; N >= 2, rows taken as independent.
    """
    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    return float(difference.mean()), float(difference.std(ddof=1) / np.sqrt(len(difference)))


def holm(p_values: Sequence[float]) -> np.ndarray:
    """p-values (M,) adjusted for M comparisons, in the given order (Holm, 1979, step-down)."""
    p_values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p_values)
    stepped = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1))
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted
