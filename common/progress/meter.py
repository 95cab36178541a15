"""How fast a fold is trained, and how long it will still take."""

import sys
import time

import torch

from common.folds import Fold
from common.progress.lines import LINES, EpochLine


class Meter:
    """Counts the epochs and seconds of training since the last line, evaluations left out.

    epoch: trained before this start. epochs: in all.
    """

    def __init__(self, fold: Fold, epoch: float, epochs: float):
        self.fold = fold
        self.epochs = epochs
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

    def show(self, epoch: float, scores: dict[str, float]) -> None:
        """Print the line of an epoch, and count anew. scores: the training loss, and what an evaluation has found."""
        speed = self.trained * len(self.fold.train_rows) / self.seconds if self.seconds else 0.0
        LINES.show(EpochLine(self.fold.number, epoch, self.epochs, scores, speed, peak_memory(), self.left(epoch)))
        self.trained = self.seconds = 0.0

    def left(self, epoch: float) -> float:
        """Seconds, evaluations included: of this fold, and of those that this process trains after it."""
        run, number = self.fold.run, self.fold.number
        after = 0 if run.args.fold is not None else sum(n > number and not done for n, done in run.done.items())
        each = (time.perf_counter() - self.began) / (epoch - self.first or 1.0)
        return each * (self.epochs - epoch + self.epochs * after)


def peak_memory() -> int:
    """Bytes of this process at the peak: of the GPU where there is one, else resident ones."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
