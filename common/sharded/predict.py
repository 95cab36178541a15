"""Predictions of a model whose weights are shared out: a forward pass needs all processes, so all make as many."""

from collections.abc import Callable, Sequence
from typing import Any

import torch


def in_step(prepare: Callable, work: Callable, items: Sequence, all_items: Sequence, num_processes: int) -> list[Any]:
    """[work(prepare(item)) for item in items], without gradients.

    items: this process's share of all_items, which were dealt out in turn. Where it has one fewer than another, it
    works on the first of all once more, in vain.
    """
    most = -(-len(all_items) // num_processes)
    padded = [*items, *all_items[:1]][:most]
    with torch.no_grad():  # not inference_mode, whose tensors a later backward pass could not use
        return [work(prepare(item)) for item in padded][: len(items)]
