"""How fast a fold is trained, and how long it will still take."""

import sys
import time

import torch

from common.folds import Fold
from common.progress.lines import LINES, EpochLine


class Meter:
    """Counts the epochs and seconds of training since the last line, evaluations left out.

    epoch: trained before this start.
    """

    def __init__(self, fold: Fold, epoch: float):
        self.fold = fold
        self.first, self.began = epoch, time.perf_counter()
        self.trained = self.seconds = 0.0
        self.go_on(epoch)

    def go_on(self, epoch: float) -> None:
        """Training begins, or goes on after something else."""
        self.last = epoch, time.perf_counter()

    def count(self, epoch: float) -> None:
        """Training has come to this epoch."""
        now = epoch, time.perf_counter()
        self.trained += now[0] - self.last[0]
        self.seconds += now[1] - self.last[1]
        self.last = now

    def show(self, epoch: float, epochs: float, scores: dict[str, float | None]) -> None:
        """Print the line of an epoch, and count anew. epochs: in all. scores: the training loss, and what an evaluation
        has found."""
        speed = self.trained * len(self.fold.train_rows) / self.seconds if self.seconds else 0.0
        left = self.left(epoch, epochs)
        LINES.show(EpochLine(self.fold.number, epoch, epochs, scores, speed, peak_memory(), left))
        self.trained = self.seconds = 0.0

    def left(self, epoch: float, epochs: float) -> float:
        """Seconds, evaluations included: of this fold, and of those that this process trains after it."""
        run, number = self.fold.run, self.fold.number
        after = 0 if run.args.fold is not None else sum(n > number and not done for n, done in run.done.items())
        each = (time.perf_counter() - self.began) / (epoch - self.first or 1.0)
        return each * (epochs - epoch + epochs * after)


def peak_memory() -> int:
    """Bytes at the peak: of the GPU where there is one, else of this process."""
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else peak_resident()


def peak_resident() -> int:
    """The most bytes that this process has held."""
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
