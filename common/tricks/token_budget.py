"""Batches of a budget of tokens in place of a number of rows."""

import math
from collections.abc import Iterator

import numpy as np

from common.batches import LengthBatchSampler, token_budget_sizes


class TokenBudgetBatchSampler(LengthBatchSampler):
    """Micro-batches of at most tokens_per_batch tokens, padding included, however many rows that is; else as
    LengthBatchSampler.

    Which lengths share a batch is the same in every epoch (so that an epoch always has the same number of steps); which
    rows of a length do, and the order of the batches, are drawn anew. An effective batch is accumulation * world_size
    micro-batches, the last one of an epoch what is left.
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

    def __len__(self) -> int:
        return math.ceil(len(self.sizes) / self.world_size)

    def __iter__(self) -> Iterator[list[int]]:
        generator = np.random.default_rng((self.seed, self.epoch))
        order = generator.permutation(len(self.lengths))
        order = order[np.argsort(self.lengths[order], kind="stable")]
        batches = np.split(order, np.cumsum(self.sizes)[:-1])
        numbers = generator.permutation(len(batches))
        nothing = [len(self.lengths) + int(order[0])]  # a row that does not count
        for start in range(0, len(batches), self.world_size):
            number = start + self.rank
            yield batches[numbers[number]].tolist() if number < len(batches) else nothing
