"""Which rows share a batch: those of similar length, in an order that resuming and more processes keep."""

import math
from collections.abc import Iterator

import datasets
import numpy as np
from pyarrow import compute
from torch.utils.data import Sampler

BUCKET = 50  # effective batches that are sorted by length together


class LengthBatchSampler(Sampler[list[int]]):
    """Micro-batches of one process, of similar length, as row numbers.

    An effective batch (one optimizer step: batch_size * accumulation * world_size rows) is a function of (seed, epoch)
    alone. So two processes, or half the batch with double accumulation, take the same steps as one, and a resumed epoch
    goes on in the same order. Rows are shuffled, sorted by length within buckets of 50 effective batches, and the
    effective batches are shuffled again; the incomplete one comes last. It is shared out evenly; a process that gets
    none of its rows gets one that does not count, len(lengths) + its number (common/guards/rows.py).

    lengths: (N,) tokens. by_length False: random batches. `epoch` is set by the trainer before each pass.
    """

    def __init__(
        self,
        lengths: np.ndarray,
        batch_size: int,
        seed: int,
        *,
        accumulation: int = 1,
        rank: int = 0,
        world_size: int = 1,
        by_length: bool = True,
    ):
        self.lengths = lengths
        self.batch_size = batch_size
        self.seed = seed
        self.accumulation = accumulation
        self.rank = rank
        self.world_size = world_size
        self.by_length = by_length
        self.effective = batch_size * accumulation * world_size
        self.epoch = 0

    def __len__(self) -> int:
        whole, rest = divmod(len(self.lengths), self.effective)
        return whole * self.accumulation + math.ceil(rest / (self.batch_size * self.world_size))

    def effective_batches(self) -> list[np.ndarray]:
        """The row numbers of each optimizer step of this epoch, over all processes."""
        generator = np.random.default_rng((self.seed, self.epoch))
        order = generator.permutation(len(self.lengths))
        if self.by_length:
            size = self.effective * BUCKET
            buckets = [order[i : i + size] for i in range(0, len(order), size)]
            order = np.concatenate([bucket[np.argsort(self.lengths[bucket], kind="stable")] for bucket in buckets])
        batches = [order[i : i + self.effective] for i in range(0, len(order), self.effective)]
        incomplete = [batches.pop()] if len(batches[-1]) < self.effective else []
        return [batches[i] for i in generator.permutation(len(batches))] + incomplete

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self.effective_batches():
            parts = math.ceil(len(batch) / (self.batch_size * self.world_size)) * self.world_size
            nothing = [len(self.lengths) + int(batch[0])]
            mine = np.array_split(batch, parts)[self.rank :: self.world_size]
            yield from (part.tolist() or nothing for part in mine)


def read_column(dataset: datasets.Dataset, name: str) -> np.ndarray:
    """(N,) or (N, C) of a column of numbers; in parts, since of a selection they would take 500 bytes a row at once."""
    parts = dataset.select_columns(name).with_format("numpy").iter(batch_size=4096)
    return np.concatenate([part[name] for part in parts] or [np.empty(0, dtype=np.int64)])


def token_budget_sizes(sorted_lengths: np.ndarray, tokens_per_batch: int) -> list[int]:
    """Rows of consecutive batches over ascending lengths: rows * longest <= tokens_per_batch, but at least one."""
    sizes = []
    size = 0
    for length in sorted_lengths:
        if size and (size + 1) * int(length) > tokens_per_batch:
            sizes.append(size)
            size = 0
        size += 1
    return [*sizes, size] if size else sizes


def row_lengths(dataset: datasets.Dataset) -> np.ndarray:
    """(N,) tokens of each row of tokenize(); 1 for rows that are no texts."""
    if "input_ids" not in dataset.column_names:
        return np.ones(len(dataset), dtype=np.int64)
    # as Arrow, because this is asked often and a list of all rows would be made
    column = dataset.with_format("arrow", columns=["input_ids"])[:]["input_ids"]
    return compute.list_value_length(column).to_numpy().astype(np.int64)
