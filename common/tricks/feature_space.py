"""More rows of the small classes, made from sentence vectors: the input of the final linear layer."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

NUM_NEIGHBOURS = 5


class FeatureSpaceOversampler:
    """Draws synthetic sentence vectors around the batch's rows of small classes and gives their loss under the final
    linear layer.

    A row of a class with n of n_max training rows gets target / n - 1 synthetic rows on average, target = n^(1-ratio) *
    n_max^ratio: ratio 0 none, ratio 1 as many as the largest class has. Neighbours and spread come from a queue, for
    each class, of its most recent vectors: at most queue_size and at most one epoch of them, so that they fit the
    encoder as it is now. Until a class has two there, nothing is drawn for it.

    method "smote": h + u * (neighbour - h), u ~ U(0, 1), the neighbour one of the 5 nearest in the queue; Chawla et al.
    2002 "SMOTE: Synthetic Minority Over-sampling Technique", section 4.2. method "rose": h + N(0, diag(b^2)), b = (4 /
    ((H + 2) m))^(1 / (H + 4)) * s, m and s (H,) the size and the standard deviation of the queue; Menardi & Torelli
    2014 "Training and assessing classification rules with imbalanced data", section 3.

    class_counts: (K,) training rows of each class, 0 only for a class that no batch has. Random numbers are from
    torch's global generators. Make it after the model is on its device; acts only while the model is in training mode.
    """

    def __init__(
        self, model: PreTrainedModel, class_counts: Sequence[int], method: str, ratio: float, queue_size: int = 64
    ):
        num_labels = model.config.num_labels
        self.linear = [m for m in model.modules() if isinstance(m, nn.Linear) and m.out_features == num_labels][-1]
        counts = torch.tensor(class_counts, dtype=torch.float, device=self.linear.weight.device)
        self.extra = (counts.max() / counts) ** ratio - 1  # (K,) synthetic rows for each real one
        self.draw = {"smote": _smote, "rose": _rose}[method]
        self.sizes = [min(queue_size, count) for count in class_counts]
        self.queues = [
            self.linear.weight.new_zeros(0, self.linear.in_features, dtype=torch.float) for _ in class_counts
        ]
        self.vectors = None  # (B, H) of the last training forward, with its graph
        self.hook = self.linear.register_forward_pre_hook(self._capture)

    def _capture(self, linear: nn.Linear, inputs: tuple[Tensor]) -> None:
        if linear.training:
            # over a decoder the last token's state stands at every place (common/decoders/family.py)
            self.vectors = inputs[0] if inputs[0].ndim == 2 else inputs[0][:, 0]

    def loss(self, labels: Tensor, loss_fn: Callable[[Tensor, Tensor], Tensor]) -> tuple[Tensor, int]:
        """Sum of the losses of the synthetic rows (a float32 scalar) and their number; the batch's vectors then join
        the queues.

        labels: (B,) of the forward pass just made; call once for each. loss_fn(logits (M, K), labels (M,)) -> (M,).
        Gradients reach the final layer and, through the batch's own vectors, the encoder. (0, 0) when nothing is drawn
        or in evaluation mode.
        """
        if not self.linear.training:
            return torch.zeros((), device=labels.device), 0
        vectors = self.vectors
        self.vectors = None
        extra = self.extra[labels]
        copies = extra.floor() + (torch.rand_like(extra) < extra.frac())
        synthetic = [vectors[:0]]
        synthetic_labels = [labels[:0]]
        for label in labels.unique().tolist():
            rows = (labels == label).nonzero()[:, 0]
            seeds = vectors[rows.repeat_interleave(copies[rows].long())]
            if len(seeds) and len(self.queues[label]) > 1:
                synthetic.append(self.draw(seeds.float(), self.queues[label]).to(vectors.dtype))
                synthetic_labels.append(labels.new_full((len(seeds),), label))
            self.queues[label] = torch.cat([self.queues[label], vectors[rows].detach().float()])[-self.sizes[label] :]
        # F.linear, not self.linear(...): a call would run the hook
        logits = F.linear(torch.cat(synthetic), self.linear.weight, self.linear.bias)
        losses = loss_fn(logits, torch.cat(synthetic_labels))
        return losses.float().sum(), len(losses)

    def state_dict(self) -> dict[str, Tensor]:
        """The queues, {"queue.<label>": (m, H) float32}; ready for safetensors."""
        return {f"queue.{label}": queue for label, queue in enumerate(self.queues)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take the queues of a state_dict() of the same model and class counts. Raises KeyError."""
        self.queues = [state[f"queue.{label}"].to(queue) for label, queue in enumerate(self.queues)]

    def remove(self) -> None:
        """Take the hook off the model."""
        self.hook.remove()


def _smote(seeds: Tensor, queue: Tensor) -> Tensor:
    """(M, H) points between each seed (M, H) and one of its nearest in the queue (m, H)."""
    distances = torch.cdist(seeds.detach(), queue)
    nearest = distances.topk(min(NUM_NEIGHBOURS, len(queue)), largest=False).indices
    chosen = torch.randint(nearest.shape[1], (len(seeds), 1), device=seeds.device)
    neighbours = queue[nearest.gather(1, chosen)[:, 0]]
    return seeds + torch.rand(len(seeds), 1, device=seeds.device) * (neighbours - seeds)


def _rose(seeds: Tensor, queue: Tensor) -> Tensor:
    """(M, H) seeds (M, H) with Gaussian noise of the queue's (m, H) Silverman bandwidth."""
    size, width = queue.shape
    bandwidth = (4 / ((width + 2) * size)) ** (1 / (width + 4)) * queue.std(0)
    return seeds + torch.randn_like(seeds) * bandwidth
