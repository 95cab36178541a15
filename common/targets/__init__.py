"""What the label of a row is: one of several classes, any number of them, a number, or one of ordered classes.

A data.py says it in one line. All are lists of the names of a model's outputs.

LABEL_NAMES = ["negative", "positive"]              # one of these a row; the same as Classes([...])
LABEL_NAMES = SeveralLabels(["spam", "insult"])     # any number of these
LABEL_NAMES = Number("score", loss="mse")           # a number
LABEL_NAMES = Ordered(["bad", "fair", "good"])      # one of these, and their order counts

METRIC = "macro_f1"                                 # what is to be good: a name of common/targets/registry.py,
METRIC = Metric("mine", function, greater_is_better=True)  # or your own function (labels, logits) -> float
"""

from collections.abc import Sequence
from typing import Any

from common.targets.classes import Classes
from common.targets.number import Number
from common.targets.ordered import Ordered
from common.targets.registry import Metric
from common.targets.several import SeveralLabels

__all__ = ["Classes", "Metric", "Number", "Ordered", "SeveralLabels", "as_target", "target_of"]

KINDS = {target.kind: target for target in (Classes, SeveralLabels, Number, Ordered)}


def as_target(label_names: Sequence[str]) -> Classes:
    """The target that label names are; a plain list is Classes."""
    return label_names if isinstance(label_names, Classes) else Classes(label_names)


def target_of(label_names: Sequence[str], kind: str = Classes.kind, **settings: Any) -> Classes:
    """The target that Classes.settings() describes, with the names of its outputs."""
    return KINDS[kind](label_names, **settings)
