"""Batch norm over the rows of all processes, so that two processes of half the batch learn what one learns.

Each process alone would normalise by the mean and variance of its own rows, Ioffe & Szegedy 2015 (arXiv 1502.03167),
algorithm 1; torch.nn.SyncBatchNorm shares them on GPUs only. With gradient accumulation they remain those of a
micro-batch, as with one process.

    share_batch_norm(model)         # once; nothing with one process
    count_rows(labels, len(rows))   # before each forward pass in training
"""

from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

from common.guards.rows import NO_ROW

COUNTED = {"share": 1.0}  # of the rows of this process's next forward pass


def is_shared() -> bool:
    """Whether there are several processes."""
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


class Sum(torch.autograd.Function):
    """The sum over all processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:
        total = part.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        distributed.all_reduce(total)
        return total


class SharedBatchNorm(_BatchNorm):
    """Stands in front of a batch norm's own class: x (B, C, ...) normalised over the rows of all processes."""

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and is_shared()):
            return super().forward(x)
        own = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        axes = [0, *range(2, x.ndim)]
        shape = [1, -1, *[1] * (x.ndim - 2)]
        counted = own[: round(len(x) * COUNTED["share"])]
        number = own.new_tensor([counted.numel() / x.shape[1]])
        *sums, number = Sum.apply(torch.cat([counted.sum(axes), number])).split([x.shape[1], 1])
        mean = sums[0] / number
        deviations = own - mean.view(shape)
        squares = Sum.apply(deviations[: len(counted)].square().sum(axes))
        variance = squares / number
        y = deviations * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            y = y * self.weight.view(shape) + self.bias.view(shape)
        if self.track_running_stats:
            self.keep(mean, squares / (number - 1).clamp(min=1))
        y = y.to(x.dtype)
        for name in ("drop", "act"):  # timm's batch norm with an activation
            y = getattr(self, name)(y) if hasattr(self, name) else y
        return y

    @torch.no_grad()
    def keep(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running averages."""
        self.num_batches_tracked.add_(1)
        momentum = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
        self.running_var.lerp_(variance.to(self.running_var.dtype), momentum)


def share_batch_norm(model: nn.Module) -> None:
    """Put SharedBatchNorm in front of each batch norm of a model that several processes train; its weights and their
    names stay."""
    if not is_shared():
        return
    for module in model.modules():
        if isinstance(module, _BatchNorm) and not isinstance(module, (SharedBatchNorm, nn.SyncBatchNorm)):
            kind = type(module)
            module.__class__ = type(kind.__name__, (SharedBatchNorm, kind), {})


def count_rows(labels: Tensor, shown: int | None = None) -> Tensor:
    """The labels as they are; says which rows of the next forward pass batch norm counts: those with a label.

    shown: rows of the pass, more than labels where a single one is shown twice, which counts twice where no other
    process has a row. One that fills a place (NO_ROW) does not count.
    """
    if is_shared():
        rows = 0 if labels[0] == NO_ROW else len(labels)
        everywhere = torch.tensor(rows, device=labels.device)
        distributed.all_reduce(everywhere)
        COUNTED["share"] = min(1.0, rows if everywhere == 1 else rows / (shown or len(labels)))
    return labels
