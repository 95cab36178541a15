"""Logits of every row of a tokenized data set, on one or several processes, with the ids checked."""

from collections.abc import Callable

import datasets
import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from common.batches import read_column, token_budget_sizes
from common.logits import Logits
from common.text import row_lengths

# A GPU wants large batches, a CPU those whose activations stay in its cache: 2.4 times as fast as 16384 with a model of
# hidden size 384.
TOKENS_PER_BATCH = {"cpu": 1024, "gpu": 16384}


@torch.inference_mode()
def predict_logits(
    model: torch.nn.Module,
    dataset: datasets.Dataset,
    collate: Callable[[list[dict]], dict[str, torch.Tensor]],
    accelerator: Accelerator,
    label_names: list[str],
    tokens_per_batch: int | None = None,
) -> Logits:
    """Logits (N, C) of the rows of tokenize(), in the data set's order, on every process.

    Rows of similar length share a batch of at most tokens_per_batch tokens (default: by device; an image counts as
    one). The batches are the same for any number of processes and are dealt out to the processes in turn. Raises
    RuntimeError when a row comes back not exactly once.
    """
    lengths = row_lengths(dataset)
    order = np.argsort(-lengths, kind="stable")[::-1]
    if tokens_per_batch is None:
        tokens_per_batch = TOKENS_PER_BATCH["cpu" if accelerator.device.type == "cpu" else "gpu"]
    sizes = token_budget_sizes(lengths[order], tokens_per_batch)
    batches = np.split(order, np.cumsum(sizes)[:-1]) if sizes else []
    model.eval()
    rows: list[np.ndarray] = []
    values: list[np.ndarray] = []
    for batch in batches[accelerator.process_index :: accelerator.num_processes]:
        inputs = collate([dataset[int(i)] for i in batch])
        inputs.pop("labels")
        with accelerator.autocast():
            outputs = model(**{key: value.to(accelerator.device) for key, value in inputs.items()})
        rows.append(batch)
        values.append(outputs.logits.float().cpu().numpy())
    gathered = gather_object(list(zip(rows, values, strict=True)))
    numbers = np.concatenate([row for row, _ in gathered]) if gathered else np.empty(0, dtype=int)
    if not np.array_equal(np.sort(numbers), np.arange(len(dataset))):
        raise RuntimeError(f"{len(numbers)} rows came back for {len(dataset)}, or some twice")
    logits = np.zeros((len(dataset), len(label_names)), dtype=np.float32)
    if gathered:
        logits[numbers] = np.concatenate([value for _, value in gathered])
    return Logits(np.array(dataset["id"], dtype=np.str_), logits, read_column(dataset, "labels"), list(label_names))


def start_accelerator(config: dict) -> Accelerator:
    """Accelerate as the run was trained: its precision (fp16, bf16), and the CPU where there is no accelerator."""
    use_cpu = not torch.accelerator.is_available()
    precision = "bf16" if config.get("bf16") else "fp16" if config.get("fp16") and not use_cpu else "no"
    return Accelerator(mixed_precision=precision, cpu=use_cpu)
