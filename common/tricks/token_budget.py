"""Batches of a budget of tokens in place of a number of rows."""

from collections.abc import Iterator

import numpy as np

from common.batches import LengthBatchSampler, token_budget_sizes
from common.console import InputError


class TokenBudgetBatchSampler(LengthBatchSampler):
    """Micro-batches of at most tokens_per_batch tokens, padding included, however many rows that is; else as
    LengthBatchSampler.

    Which lengths share a batch is the same in every epoch (so that an epoch always has the same number of steps); which
    rows of a length do, and the order of the batches, are drawn anew. An effective batch is accumulation * world_size
    micro-batches.
    """

    def __init__(
        self,
        lengths: np.ndarray,
        tokens_per_batch: int,
        seed: int,
        *,
        accumulation: int = 1,
        rank: int = 0,
        world_size: int = 1,
    ):
        super().__init__(lengths, 1, seed, accumulation=accumulation, rank=rank, world_size=world_size)
        self.sizes = token_budget_sizes(np.sort(lengths), tokens_per_batch)
        while len(self.sizes) % world_size:  # every process takes the same number of micro-batches
            largest = int(np.argmax(self.sizes))
            if self.sizes[largest] == 1:
                raise InputError(f"train_file: {len(lengths)} rows are too few for {world_size} processes")
            half = self.sizes[largest] // 2
            self.sizes[largest : largest + 1] = [half, self.sizes[largest] - half]

    def __len__(self) -> int:
        return len(self.sizes) // self.world_size

    def __iter__(self) -> Iterator[list[int]]:
        generator = np.random.default_rng((self.seed, self.epoch))
        order = generator.permutation(len(self.lengths))
        order = order[np.argsort(self.lengths[order], kind="stable")]
        batches = np.split(order, np.cumsum(self.sizes)[:-1])
        for number in generator.permutation(len(batches) // self.world_size):
            yield batches[number * self.world_size + self.rank].tolist()
