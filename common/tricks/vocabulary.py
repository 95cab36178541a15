"""The vocabulary in use: word embeddings of the tokens that occur, while a fold is trained.

A multilingual model has 250,000 word vectors, of which a competition's rows read some thousands. The others get no
gradient, but clipping, the optimizer and its two moments, averages and checkpoints carry them along. So the embedding
is cut to the rows that can be read, and the whole matrix waits on the CPU until the fold is trained.

Token ids stay as they are: the embedding numbers them anew when it looks them up. So nothing else that reads ids can
tell the difference: positions that are counted from the padding (RoBERTa), the last token that is no padding (GPT-2,
Qwen2), the ids that a config.json or a tokenizer names, rows that are written to a file.

The same logits come out, up to the order in which the gradient's norm is summed. What differs is in rows that nothing
reads: weight decay leaves them as they were.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from common.batches import row_lengths
from common.folds import Fold


class WordsInUse:
    """Cuts a model's word embeddings (V, H) to the rows of these ids, in place, until put_back().

    ids: (R,) int64, ascending. Other embeddings of the same weight are cut with it. Raises ValueError where an output
    layer has it, too, because a softmax over some of the words is another loss; and IndexError when the model is given
    another id.
    """

    def __init__(self, model: PreTrainedModel, ids: np.ndarray):
        weight = model.get_input_embeddings().weight
        sharing = [m for m in model.modules() if any(p is weight for p in m.parameters(recurse=False))]
        if not all(isinstance(module, nn.Embedding) for module in sharing):
            raise ValueError("an output layer has the weight of the word embeddings")
        self.modules = sharing
        self.whole = weight.detach()
        self.ids = torch.from_numpy(ids)
        row_of = torch.full((len(weight),), -1)
        row_of[self.ids] = torch.arange(len(ids))
        self.row_of = {row_of.device: row_of}  # (V,) on each device that looks words up
        self.paddings = [module.padding_idx for module in self.modules]
        self.hooks = [module.register_forward_pre_hook(self.renumber) for module in self.modules]
        known = {None: None} | dict(zip(ids.tolist(), range(len(ids)), strict=True))
        self.replace(nn.Parameter(self.whole[self.ids]), [known.get(padding) for padding in self.paddings])

    def renumber(self, module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        """Row numbers of the cut embedding in place of the ids."""
        device = inputs[0].device
        if device not in self.row_of:
            self.row_of[device] = self.row_of[self.whole.device].to(device)
        return (self.row_of[device][inputs[0]],)

    def replace(self, weight: nn.Parameter, paddings: Iterable[int | None]) -> None:
        for module, padding in zip(self.modules, paddings, strict=True):
            module.weight = weight
            module.num_embeddings = len(weight)
            module.padding_idx = padding

    def norm_of_others(self) -> float:
        """The Frobenius norm of the rows that wait."""
        squares = torch.linalg.vector_norm(self.whole, dim=1, dtype=torch.float64) ** 2
        squares[self.ids] = 0
        return float(squares.sum().sqrt())

    def put_back(self) -> None:
        """The model has all rows again: the trained ones in their places, the others to the bit as they were."""
        part = self.modules[0].weight.detach()
        with torch.no_grad():
            self.whole[self.ids] = part.to(self.whole.device)
        self.replace(nn.Parameter(self.whole.to(part.device)), self.paddings)
        for hook in self.hooks:
            hook.remove()


def ids_in_use(fold: Fold, collate: Callable, model: PreTrainedModel) -> np.ndarray:
    """(R,) ascending ids of the rows that a fold trains on, evaluates and predicts, of what pads them, and of what the
    model's configuration names."""
    seen = np.zeros(len(model.get_input_embeddings().weight), dtype=bool)
    seen[[number for number in named_ids(model.config.to_dict()) if 0 <= number < len(seen)]] = True
    for rows in (fold.train_rows, fold.eval_rows, *fold.to_predict.values()):
        for part in rows.select_columns("input_ids").with_format("arrow").iter(batch_size=4096):
            seen[part["input_ids"].combine_chunks().flatten().to_numpy()] = True
        lengths = row_lengths(rows)
        padded = collate([rows[int(lengths.argmin())], rows[int(lengths.argmax())]])
        seen[padded["input_ids"].unique().numpy()] = True
    return np.flatnonzero(seen)


def named_ids(config: dict[str, Any]) -> Iterator[int]:
    """What a configuration calls pad_token_id, eos_token_id and so on, also inside of others."""
    for key, value in config.items():
        if isinstance(value, dict):
            yield from named_ids(value)
        elif str(key).endswith("_token_id"):  # id2label's keys are numbers
            yield from [number for number in (value if isinstance(value, list) else [value]) if number is not None]
