"""The code that docs/contests.md has a reader write: SemEval-2010 Task 8's official score."""

import re

import numpy as np
from sklearn.metrics import f1_score

from tests.tools.scripts import ROOT

PAGE = (ROOT / "docs" / "contests.md").read_text(encoding="utf-8")
RELATIONS = [f"R{number}" for number in range(9)]
NAMES = ["Other", *(f"{name}({way})" for name in RELATIONS for way in ("e1,e2", "e2,e1"))]


def official_f1(labels, predicted):
    (code,) = re.findall(r"^```python\n(# my_contest/data.py.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    names = {"LABEL_NAMES": NAMES}
    exec(code, names)
    metric = names["METRIC"]
    return metric.function(np.array(labels), np.eye(len(NAMES))[predicted])


def test_the_official_f1_is_scikit_learns_micro_f1_of_both_directions_averaged_over_the_relations():
    random = np.random.default_rng(0)
    labels = random.integers(0, 19, 500)
    predicted = np.where(random.random(500) < 0.6, labels, random.integers(0, 19, 500))
    of_relations = [
        f1_score(labels, predicted, labels=[2 * k + 1, 2 * k + 2], average="micro", zero_division=0) for k in range(9)
    ]
    assert np.isclose(official_f1(labels, predicted), np.mean(of_relations))


def test_a_row_with_the_wrong_direction_is_found_and_is_not_right():
    # R0: rows 0 and 2 are right; 4 rows are said to be R0, 3 are: 2 * 2 / 7. R1 is missed.
    labels, predicted = [1, 1, 2, 0, 3], [1, 2, 2, 1, 0]
    assert np.isclose(official_f1(labels, predicted), 4 / 7 / 9)
