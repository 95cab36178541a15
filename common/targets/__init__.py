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
from typing import TYPE_CHECKING, Any

from common.targets.classes import Classes
from common.targets.number import Number
from common.targets.ordered import Ordered
from common.targets.registry import Metric, with_metric
from common.targets.several import SeveralLabels

if TYPE_CHECKING:
    from transformers import PretrainedConfig

__all__ = [
    "Classes",
    "Metric",
    "Number",
    "Ordered",
    "SeveralLabels",
    "as_target",
    "label_config",
    "labels_of_config",
    "target_of",
    "with_metric",
]

KINDS = {target.kind: target for target in (Classes, SeveralLabels, Number, Ordered)}


def as_target(label_names: Sequence[str]) -> Classes:
    """The target that label names are; a plain list is Classes."""
    return label_names if isinstance(label_names, Classes) else Classes(label_names)


def target_of(label_names: Sequence[str], kind: str = Classes.kind, **settings: Any) -> Classes:
    """The target that Classes.settings() describes, with the names of its outputs."""
    return KINDS[kind](label_names, **settings)


def label_config(label_names: Sequence[str]) -> dict[str, Any]:
    """What a config.json says of the labels."""
    target = as_target(label_names)
    names = {"id2label": dict(enumerate(target)), "label2id": {name: i for i, name in enumerate(target)}}
    settings = target.settings()
    # None: not that of the classifier that a run may start from
    kind = {"problem_type": target.problem_type, "target": settings} if settings else {"problem_type": None}
    return {**names, **kind}


def labels_of_config(config: "PretrainedConfig") -> Classes:
    """The label names that label_config() put there, in the order of the outputs."""
    return target_of([config.id2label[i] for i in range(config.num_labels)], **getattr(config, "target", {}))
