"""What is left of a run when its folds are trained: saved models with a card, logits over all folds, metrics."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from accelerate.utils import extract_model_from_parallel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from common.console import print_once
from common.files import atomic_write, write_json
from common.folds import Fold
from common.logits import Logits, average, concatenate
from common.metrics import compute_metrics, task_metric
from common.progress.lines import folds_table, shown_metrics
from common.run import Run
from common.targets import Metric

TaskMetrics = Callable[[Logits], dict[str, float]] | None  # a task's own metrics, measured beside compute_metrics


def all_metrics(logits: Logits, task_metrics: TaskMetrics, metric: Metric | None = None) -> dict[str, float]:
    """compute_metrics, with the metric, and the task's own metrics of the same rows."""
    metrics = compute_metrics(logits.logits, logits.labels, logits.label_names, metric)
    return metrics if task_metrics is None else {**metrics, **task_metrics(logits)}


def save_fold(
    fold: Fold,
    model: PreTrainedModel,
    logits: dict[str, Logits],
    info: dict[str, Any],
    pipeline_tag: str,
    tokenizer: PreTrainedTokenizerBase | None = None,
    task_metrics: TaskMetrics = None,
) -> None:
    """Save the fold's model and tokenizer as save_pretrained does, a model card, its logits and its metrics.

    logits: by name; "held_out" (the rows of the training file that this fold did not train on) or else "eval" gives the
    metrics. pipeline_tag: the hub's name of the task.
    """
    measured = logits.get("held_out") or logits["eval"]
    target = measured.label_names
    metric = task_metric(fold.args, target)
    info["metrics"] = metrics = all_metrics(measured, task_metrics, metric)
    if fold.run.state.is_main_process:
        from common.tricks.card import model_card

        whole = extract_model_from_parallel(model)
        whole.save_pretrained(fold.dir)
        if fold.run.config.get("lora_r"):
            from common.decoders.adapters import complete

            complete(whole, fold.dir, fold.run)
        if tokenizer is not None:
            tokenizer.save_pretrained(fold.dir)
        with atomic_write(fold.dir / "README.md") as file:
            file.write(model_card(fold.run.config, info, pipeline_tag, target))
    fold.run.finish_fold(fold.number, logits, info)
    print_once(f"fold {fold.number}: {chosen(metrics, metric, target.short(metrics))}{target.short(metrics)}")


def chosen(values: dict[str, float], metric: Metric | None, line: str) -> str:
    """What stands first in a line of metrics that does not have it."""
    if metric is None or f"{metric.name} {values[metric.name]:.4f}" in line:
        return ""
    error = values.get(f"{metric.name}_error")
    return f"{metric.name} {values[metric.name]:.4f}{'' if error is None else f' ± {error:.4f}'}, "


def collect(run: Run, examples: Sequence, task_metrics: TaskMetrics = None) -> dict[str, Logits]:
    """Join the folds: oof (K >= 2) in the order of the training rows, eval and test averaged.

    Writes the npz files and metrics.json, prints the metrics. Returns the logits by name: "oof", "eval", "test", as far
    as there are any.
    """
    num_folds = run.config["num_folds"]
    folds = [run.load_fold(fold) for fold in range(num_folds)]
    parts = {name: [logits[name] for logits, _ in folds] for name in folds[0][0]}
    results = {name: average(parts[name]) for name in ("eval", "test") if name in parts}
    if num_folds > 1:
        results["oof"] = concatenate(parts["held_out"], [row.id for row in examples])
    elif "held_out" in parts:
        results["eval"] = parts["held_out"][0]
    target = folds[0][0][next(iter(parts))].label_names
    metric = task_metric(run.args, target)
    # measured anew, because data.py's METRIC may be another by now
    measured = [all_metrics(part, task_metrics, metric) for part in parts.get("held_out") or parts["eval"]]
    infos = [{**info, "metrics": values} for (_, info), values in zip(folds, measured, strict=True)]
    metrics = {name: all_metrics(results[name], task_metrics, metric) for name in ("oof", "eval") if name in results}
    for name, values in metrics.items() if metric else []:
        from common.targets.errors import standard_error

        held_out = [info["metrics"][metric.name] for info in infos] if name == "oof" else []
        error = standard_error(metric, results[name], held_out, run.args.metric_bootstrap)
        if error is not None:
            values[f"{metric.name}_error"] = error
    if run.state.is_main_process:
        for name, logits in results.items():
            logits.save(run.dir / f"{name}_logits.npz")
        speeds = [speed for info in infos if (speed := info["train_samples_per_second"]) > 0]  # 0: resumed at its end
        speed = float(np.mean(speeds)) if speeds else None
        of_folds = [info["metrics"] for info in infos]
        write_json(run.dir / "metrics.json", {**metrics, "folds": of_folds, "train_samples_per_second": speed})
    if num_folds > 1:
        print_once(folds_table(infos, shown_metrics(run.args, target)))
    for name, values in metrics.items():
        own = {} if task_metrics is None else task_metrics(results[name])
        others = "".join(f"{key} {value:.4f}, " for key, value in own.items())
        first = chosen(values, metric, target.summary(values))
        print_once(f"{name}: {first}{target.summary(values)}, {others}{values['n']} rows", always=True)
    if run.config.get("average_adapters"):
        from common.decoders.average import average_adapters

        average_adapters(run, results, task_metrics)
    return results
