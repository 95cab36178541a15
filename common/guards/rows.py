"""Every row counts once, however many processes share them: rows that fill a place where a process has none, and
batch norm's averages as they are saved.

The processes of a step must make the same calls, also where the last effective batch has fewer rows than there are
processes. So the one without a row gets any row, marked as NO_ROW, and its loss is nothing_of() the model's logits.
"""

from typing import Any

import torch
from torch.utils.data import Dataset

NO_ROW = -100  # the label of a row that fills a place; the Trainer, which counts the rows of a step, leaves it out


class FilledRows(Dataset):
    """rows, a data set of dicts; row number len(rows) + n is row n with the label NO_ROW."""

    def __init__(self, rows: Any):
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> dict:
        (row,) = self.__getitems__([number])
        return row

    def __getitems__(self, numbers: list[int]) -> list[dict]:
        size = len(self.rows)
        wanted = [number % size for number in numbers]
        together = getattr(self.rows, "__getitems__", None)  # all at once, where the data set can
        rows = together(wanted) if together else [self.rows[number] for number in wanted]
        pairs = zip(rows, numbers, strict=True)
        return [{**row, "labels": NO_ROW} if number >= size else row for row, number in pairs]


def nothing_of(logits: torch.Tensor) -> torch.Tensor:
    """0, whose gradient is 0 for every weight: with several processes a weight without a gradient stops the others."""
    return logits.float().sum() * 0


def share_buffers(model: torch.nn.Module) -> None:
    """Give each process the first one's buffers (batch norm's running averages), which are those that are saved:
    what is measured on several processes is then the model that they write."""
    if not torch.distributed.is_initialized() or torch.distributed.get_world_size() == 1:
        return
    saved = model.state_dict().keys()
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            if name in saved:
                torch.distributed.broadcast(buffer, src=0)


def smallest_batch(num_rows: int, batch_size: int, accumulation: int = 1, world_size: int = 1) -> int:
    """Rows of the smallest micro-batch of an epoch of LengthBatchSampler; one that fills a place has one row."""
    rest = num_rows % (batch_size * accumulation * world_size)
    parts = -(-rest // (batch_size * world_size)) * world_size
    return max(1, rest // parts) if rest else batch_size
