"""What a report says of ordered classes: what it says of classes, and how far off the predictions are."""

from pathlib import Path

import numpy as np

from common.logits import Logits
from common.report import run_page
from common.report.run_page import find_warnings, metrics_table, table

__all__ = ["FRACTIONS", "NOTE", "PANELS", "find_warnings", "metrics_table", "section"]

NOTE = f"{run_page.NOTE} Quadratic kappa: Cohen's, with squared distances; mae: distance in classes."
FRACTIONS = {"quadratic_kappa": "quadratic kappa"} | run_page.FRACTIONS
PANELS = run_page.PANELS | {"eval quadratic kappa": {"eval_quadratic_kappa": "--"}}


def section(run_dir: Path, name: str, result: Logits) -> list[str]:
    """Markdown lines: scores and confusion of the classes, and the rows by distance from their class."""
    known = result.labels >= 0
    distance = result.logits[known].argmax(axis=1) - result.labels[known]
    counts = {int(step): int((distance == step).sum()) for step in np.unique(distance)}
    rows = [[f"{step:+d}" if step else "0", count, f"{count / len(distance):.1%}"] for step, count in counts.items()]
    lines = run_page.section(run_dir, name, result)
    return [
        *lines,
        "How many classes too high (+) or too low (-):",
        "",
        *table(["distance", "rows", "share"], rows),
        "",
    ]
