"""What the terminal shows of folds in training: a line an epoch, in columns. Imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from common.console import print_once
from common.guards.terminal import columns_of, padded, told
from common.metrics import task_metric
from common.targets import Classes
from common.workers import link

LEAST_WIDTH = 8


@dataclass
class EpochLine:
    """Of one evaluation of a fold, or of an epoch without one.

    epoch: trained, of epochs. scores: by name, the training loss first, None before one is
    logged. rows_per_second: of training. memory: bytes at the peak, of the GPU where there is one. left: seconds that
    the run is still expected to take.
    """

    fold: int
    epoch: float
    epochs: float
    scores: dict[str, float | None]
    rows_per_second: float
    memory: int
    left: float

    def names(self) -> list[str]:
        return ["fold", "epoch", *self.scores, "rows/s", "GB", "left"]

    def cells(self) -> list[str]:
        """A text for each name."""
        values = ["-" if value is None else f"{value:.4f}" for value in self.scores.values()]
        speed, memory = f"{self.rows_per_second:.1f}", f"{self.memory / 1e9:.2f}"
        return [str(self.fold), f"{self.epoch:.4g}/{self.epochs:.4g}", *values, speed, memory, clock(self.left)]


class Lines:
    """Prints lines, with a header before the first and wherever the columns change; those of a child by its parent,
    too."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def show(self, line: EpochLine) -> None:
        if link.LINK is not None and link.LINK.ends_with_parent:
            link.LINK.say(line=vars(line))
        for text in self.texts(line):
            print_once(text)

    def texts(self, line: EpochLine) -> list[str]:
        """The line, after the header where it is due."""
        names = line.names()
        header = [] if names == self.names else [aligned(names, names)]
        self.names = names
        return [*header, aligned(line.cells(), names)]


LINES = Lines()


def shown_metrics(args: Any, target: Classes) -> list[str]:
    """The metrics that have a column: the task's own, and what the target is judged by."""
    metric = task_metric(args, target)
    return list(dict.fromkeys([*([metric.name] if metric else []), target.metric]))


def aligned(cells: Sequence[str], names: Sequence[str]) -> str:
    """Cells below the names of their columns."""
    pairs = zip(map(told, cells), map(told, names), strict=True)
    return "  ".join(padded(cell, max(LEAST_WIDTH, columns_of(name)), right=True) for cell, name in pairs)


def clock(seconds: float) -> str:
    """0:07, 12:34, 3:04:05."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def folds_table(infos: Sequence[dict[str, Any]], metrics: Sequence[str]) -> str:
    """The folds of a run below each other: rows, the named metrics, training rows per second.

    infos: of each fold what fold.json says.
    """
    names = ["fold", "rows", *metrics, "rows/s"]
    lines = [aligned(names, names)]
    for number, info in enumerate(infos):
        values = info["metrics"]
        speed = info["train_samples_per_second"]
        cells = [str(number), str(values["n"]), *(f"{values[name]:.4f}" for name in metrics)]
        lines.append(aligned([*cells, f"{speed:.1f}" if speed > 0 else "-"], names))  # 0: resumed at its end
    return "\n".join(lines)
