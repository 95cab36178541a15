"""By how much one trial is better than another, and how sure that is."""

from common.blend.scores import score_of
from common.logits import Logits
from common.metrics import metric_of
from common.targets.classes import known_rows


def paired_difference(metric: str, a: Logits, b: Logits) -> tuple[float, float]:
    """By how much a is better than b on the same rows, and the standard error of this, as Score.gain() has it.

    metric: a name of common/targets/registry.py, or the METRIC of the folder's data.py.
    """
    score = score_of(metric_of(metric, "data", a.label_names))
    known = known_rows(a.labels)
    return score.gain(a.logits[known], b.reorder(a.ids).logits[known], a.labels[known])
