"""The per-device batch that fits into memory, with the effective batch unchanged: found beforehand, or halved when
memory runs out."""

from collections.abc import Callable

import datasets
import numpy as np
import torch
from transformers import PreTrainedModel, TrainingArguments

from common.batches import row_lengths
from common.console import InputError, print_once
from common.workers import link

LOW = (
    0.6  # share of the memory; the rule of the paper that the collection starts from (Park et al., Casual Grid Search)
)
HIGH = 0.8


def largest_batch(memory: Callable[[int], float], rows: int) -> int:
    """The largest divisor b of `rows` with memory(b) <= HIGH; 1 where even that needs more.

    memory(b): share of the device's memory that a training step of b rows takes, inf when it does not fit. A divisor
    below the chosen one is never tried: the search goes up and stops in the range LOW to HIGH, or before the first that
    exceeds it.
    """
    chosen = 1
    for batch in (b for b in range(1, rows + 1) if rows % b == 0):
        share = memory(batch)
        if share > HIGH:
            break
        chosen = batch
        if share >= LOW:
            break
    return chosen


def halve_batch(training_args: TrainingArguments) -> None:
    """The largest divisor of the effective batch that is at most half the per-device batch. Raises InputError at a
    batch of one row, with several processes, whose batches one cannot halve alone, and where other folds are trained
    beside this one: fewer at a time come first."""
    if training_args.world_size > 1:
        how = "halve per_device_train_batch_size and double gradient_accumulation_steps, in another --output_dir"
        raise InputError(f"out of memory in one of several processes, where no batch is halved: {how}")
    if link.LINK is not None and not link.LINK.alone:
        raise InputError("out of memory beside other folds (fold_workers)")
    rows = training_args.per_device_train_batch_size * training_args.gradient_accumulation_steps
    batch = training_args.per_device_train_batch_size // 2
    if batch == 0:
        raise InputError(
            "out of memory with one row per device: lower max_length, or use gradient_checkpointing, bf16 or lora_r"
        )
    set_batch(training_args, next(b for b in range(batch, 0, -1) if rows % b == 0))
    print_once(
        f"out of memory: going on with per_device_train_batch_size {training_args.per_device_train_batch_size}, "
        f"gradient_accumulation_steps {training_args.gradient_accumulation_steps}"
    )


def set_batch(training_args: TrainingArguments, batch: int) -> None:
    """per_device_train_batch_size, with the accumulation that keeps the effective batch; batch must divide it."""
    training_args.gradient_accumulation_steps *= training_args.per_device_train_batch_size
    training_args.gradient_accumulation_steps //= batch
    training_args.per_device_train_batch_size = batch


def fit_batch_size(
    make_model: Callable[[], PreTrainedModel],
    dataset: datasets.Dataset,
    collate: Callable,
    training_args: TrainingArguments,
    passes: int = 1,
) -> None:
    """Set per_device_train_batch_size and gradient_accumulation_steps from steps on the longest row; without a GPU it
    says so.

    passes: how often a row stands in the model's batch (2 with R-Drop).
    """
    if not torch.cuda.is_available():
        print_once("auto_batch_size: needs a CUDA GPU; per_device_train_batch_size stays as it is")
        return
    longest = int(row_lengths(dataset).argmax())
    total = torch.cuda.get_device_properties(training_args.device).total_memory
    dtype = torch.bfloat16 if training_args.bf16 else torch.float16
    model = make_model().to(training_args.device).train()
    if training_args.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0)  # its two moments take memory; the weights do not move

    def memory(batch: int) -> float:
        inputs = {
            key: value.to(training_args.device) for key, value in collate([dataset[longest]] * batch * passes).items()
        }
        torch.cuda.reset_peak_memory_stats()
        try:
            with torch.autocast("cuda", dtype, enabled=training_args.bf16 or training_args.fp16):
                model(**inputs).loss.backward()
            optimizer.step()
        except torch.OutOfMemoryError:
            return np.inf
        finally:
            optimizer.zero_grad()
            torch.cuda.empty_cache()
        return torch.cuda.max_memory_reserved() / total

    rows = training_args.per_device_train_batch_size * training_args.gradient_accumulation_steps
    set_batch(training_args, largest_batch(memory, rows))
    print_once(
        f"auto_batch_size: per_device_train_batch_size {training_args.per_device_train_batch_size}, "
        f"gradient_accumulation_steps {training_args.gradient_accumulation_steps}"
    )
