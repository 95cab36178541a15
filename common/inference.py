"""Logits of every row, on one or several processes, and the folds of several runs as one ensemble."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import datasets
import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from transformers import PreTrainedModel

from common.batches import read_column, row_lengths, token_budget_sizes
from common.console import print_once
from common.files import write_json
from common.folds import Fold
from common.guards.launcher import precision_of_run, wants_cpu
from common.logits import Logits, average
from common.metrics import metric_of
from common.options.fields import TextPredictArguments
from common.results import TaskMetrics, all_metrics
from common.run import finished_folds, read_config
from common.submission import Submission
from common.targets import as_target, labels_of_config
from common.targets.classes import known_rows
from common.workers.rows import rows_of_fold
from common.workers.threads import in_threads

if TYPE_CHECKING:
    from common.training import FoldTrainer

# A GPU wants large batches, a CPU those whose activations stay in its cache: 2.4 times as fast as 16384 with a model of
# hidden size 384.
TOKENS_PER_BATCH = {"cpu": 1024, "gpu": 16384}


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
    tokens_per_batch = tokens_per_batch or TOKENS_PER_BATCH["cpu" if accelerator.device.type == "cpu" else "gpu"]
    sizes = token_budget_sizes(lengths[order], tokens_per_batch)
    batches = np.split(order, np.cumsum(sizes)[:-1]) if sizes else []
    model.eval()
    target = as_target(label_names)
    rows = batches[accelerator.process_index :: accelerator.num_processes]

    def logits_of(inputs: dict[str, torch.Tensor]) -> np.ndarray:
        inputs.pop("labels")
        with accelerator.autocast():
            outputs = model(**{key: value.to(accelerator.device) for key, value in inputs.items()})
        return target.to_logits(outputs.logits.float()).cpu().numpy()

    def inputs_of(rows: np.ndarray) -> dict[str, torch.Tensor]:
        return collate([dataset[int(i)] for i in rows])

    if accelerator.is_fsdp2:
        from common.sharded.predict import in_step

        values = in_step(inputs_of, logits_of, rows, batches, accelerator.num_processes)
    else:
        values = in_threads(inputs_of, logits_of, rows, accelerator.device)
    logits = gather_rows(rows, values, len(dataset), len(label_names))
    return Logits(np.array(dataset["id"], dtype=np.str_), logits, read_column(dataset, "labels"), target)


def gather_rows(rows: list[np.ndarray], values: list[np.ndarray], num_rows: int, num_labels: int) -> np.ndarray:
    """(num_rows, num_labels) float32 from all processes' batches of row numbers (b,) and logits (b, num_labels).

    Raises RuntimeError when a row comes back not exactly once.
    """
    gathered = gather_object(list(zip(rows, values, strict=True)))
    numbers = np.concatenate([np.empty(0, dtype=int), *(row for row, _ in gathered)])
    if not np.array_equal(np.sort(numbers), np.arange(num_rows)):
        raise RuntimeError(f"{len(numbers)} rows came back for {num_rows}, or some twice")
    logits = np.zeros((num_rows, num_labels), dtype=np.float32)
    for row, value in gathered:
        logits[row] = value
    return logits


def predict_fold(fold: Fold, trainer: "FoldTrainer", tokens_per_batch: int | None = None) -> dict[str, Logits]:
    """What a trained fold says of the rows that it has not seen, by the names of fold.to_predict."""
    with fold.run.phase("predict"):
        shared = trainer.data_collator, trainer.accelerator, trainer.class_names, tokens_per_batch
        logits = {name: predict_logits(trainer.model, rows, *shared) for name, rows in fold.to_predict.items()}
        trainer.gather()
    return logits


def start_accelerator(config: dict) -> Accelerator:
    """Accelerate as the run was trained: its precision (fp16, bf16), and the CPU where there is no accelerator."""
    use_cpu = wants_cpu() or not torch.accelerator.is_available()
    return Accelerator(mixed_precision=precision_of_run(config, use_cpu), cpu=use_cpu)


class Ensemble:
    """The finished folds of args.run_dir, one or several runs; the logits of all are averaged by id.

    runs: a list of fold folders for each run. A run's weight (args.weights, default 1) is shared by its folds.
    """

    def __init__(self, args: Any):
        self.args = args
        self.runs = [finished_folds(run_dir) for run_dir in args.run_dir]
        self.config = read_config(args.run_dir[0])
        self.accelerator = start_accelerator(self.config)
        self.device = self.accelerator.device
        pairs = zip(self.runs, args.weights or [1.0] * len(self.runs), strict=True)
        self.weights = [weight / len(folds) for folds, weight in pairs for _ in folds]
        self.parts: list[Logits] = []
        self.predict_logits = predict_logits
        if isinstance(args, TextPredictArguments) and args.int8:
            from common.tricks.int8 import Int8

            self.predict_logits = Int8(self, predict_logits)
        elif isinstance(args, TextPredictArguments) and args.torch_compile:
            from common.tricks.compiled import Compiled

            self.predict_logits = Compiled(self.device, predict_logits)
        self.cache = TemporaryDirectory()

    def cache_file(self) -> Path:
        """Where the tokenized rows of the fold that comes next are kept until write(); of a run before with its own."""
        return rows_of_fold(Path(self.cache.name), sum(self.runs, [])[len(self.parts)])

    def predict(
        self, model: PreTrainedModel, rows: datasets.Dataset, collate: Callable, tokens_per_batch: int | None = None
    ) -> None:
        """add() predict_logits() of the next fold's model."""
        label_names = labels_of_config(model.config)
        self.add(self.predict_logits(model, rows, collate, self.accelerator, label_names, tokens_per_batch))

    def add(self, logits: Logits) -> None:
        """What the next fold says; folds in the order of runs."""
        self.parts.append(logits)

    def write(self, submission: Submission, task_metrics: TaskMetrics = None) -> None:
        """The average as a submission S.csv, S.logits.npz and, where rows have labels, S.metrics.json and on screen."""
        logits = average(self.parts, self.weights)
        metric = metric_of(self.config.get("metric"), "data", logits.label_names)
        if getattr(self.args, "prior_correction", False):
            from common.tricks.shift import correct_folds

            logits = correct_folds(logits, [fold for folds in self.runs for fold in folds], self.weights)
        if self.accelerator.is_main_process:
            path = Path(self.args.submission_file)
            submission.write(path, logits)
            logits.save(path.with_suffix(".logits.npz"))
            print_once(f"{path}: {len(logits.ids)} rows", always=True)
            path.with_suffix(".metrics.json").unlink(missing_ok=True)  # of what was predicted here before
            if known_rows(logits.labels).any():
                write_json(path.with_suffix(".metrics.json"), metrics := all_metrics(logits, task_metrics, metric))
                cells = [f"{value:.4f}" if isinstance(value, float) else str(value) for value in metrics.values()]
                print_once(", ".join(f"{key} {cell}" for key, cell in zip(metrics, cells, strict=True)), always=True)
        self.cache.cleanup()
        self.accelerator.wait_for_everyone()
        self.accelerator.end_training()
