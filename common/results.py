"""What is left of a run when its folds are trained: saved models, logits over all folds, metrics, the report, the
upload."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from huggingface_hub import EvalResult, HfApi, ModelCard, ModelCardData
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainingArguments

from common.args import print_once
from common.files import atomic_write, write_json
from common.logits import Logits, average, concatenate
from common.metrics import compute_metrics
from common.run import Run
from common.run_report import find_warnings, task_metrics_of, write_report

TaskMetrics = Callable[[Logits], dict[str, float]] | None  # a task's own metrics, measured beside compute_metrics


def all_metrics(logits: Logits, task_metrics: TaskMetrics) -> dict[str, float]:
    """compute_metrics and the task's own metrics of the same rows."""
    metrics = compute_metrics(logits.logits, logits.labels, logits.label_names)
    return metrics if task_metrics is None else {**metrics, **task_metrics(logits)}


def save_fold(
    run: Run,
    fold: int,
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
    info["metrics"] = all_metrics(logits.get("held_out") or logits["eval"], task_metrics)
    folder = run.fold_dir(fold)
    if run.state.is_main_process:
        model.save_pretrained(folder)
        if tokenizer is not None:
            tokenizer.save_pretrained(folder)
        with atomic_write(folder / "README.md") as file:
            file.write(model_card(run.config, info, pipeline_tag))
    run.finish_fold(fold, logits, info)
    print_once(f"fold {fold}: accuracy {info['metrics']['accuracy']:.4f}, macro F1 {info['metrics']['macro_f1']:.4f}")


def model_card(config: dict[str, Any], info: dict[str, Any], pipeline_tag: str) -> str:
    """A model card (Markdown with the hub's metadata) that holds the fold's numbers."""
    names = {"accuracy": "accuracy", "macro_f1": "f1_macro", "log_loss": "log_loss"}
    base = config["model_name_or_path"]
    results = [
        EvalResult(
            task_type=pipeline_tag,
            dataset_type="private",
            dataset_name=Path(config["train_file"]).name,
            metric_type=kind,
            metric_value=round(info["metrics"][key], 4),
        )
        for key, kind in names.items()
    ]
    name = f"{Path(base).name}-{Path(config['train_file']).stem}"
    data = ModelCardData(model_name=name, eval_results=results, library_name="transformers", pipeline_tag=pipeline_tag)
    metrics = "\n".join(
        f"| {key} | {value:.4f} |" if isinstance(value, float) else f"| {key} | {value} |"
        for key, value in info["metrics"].items()
    )
    settings = "\n".join(f"| {key} | {value} |" for key, value in config.items())
    return str(
        ModelCard(
            f"---\n{data.to_yaml()}\n---\n\n# {name}\n\nFine-tuned from `{Path(base).name}`. Scores on rows that it "
            "was not trained on:\n\n"
            f"| metric | value |\n|---|---|\n{metrics}\n\n| field | value |\n|---|---|\n{settings}\n"
        )
    )


def collect(
    run: Run, train_ids: list[str], num_folds: int, notes: list[str], task_metrics: TaskMetrics = None
) -> dict[str, Logits]:
    """Join the folds: oof (K >= 2) in the order of train_ids, eval and test averaged. Writes the npz files,
    metrics.json and report.md.

    Returns the logits by name: "oof", "eval", "test", as far as there are any.
    """
    folds = [run.load_fold(fold) for fold in range(num_folds)]
    parts = {name: [logits[name] for logits, _ in folds] for name in folds[0][0]}
    results = {name: average(parts[name]) for name in ("eval", "test") if name in parts}
    if num_folds > 1:
        results["oof"] = concatenate(parts["held_out"], train_ids)
    elif "held_out" in parts:
        results["eval"] = parts["held_out"][0]
    infos = [info for _, info in folds]
    scored = {name: results[name] for name in ("oof", "eval") if name in results}
    metrics = {name: all_metrics(logits, task_metrics) for name, logits in scored.items()}
    if run.config.get("load_best_model_at_end"):
        rows = (
            "each fold was chosen on its held-out rows: oof"
            if num_folds > 1
            else "the model was chosen on the rows of eval: eval"
        )
        notes = [*notes, f"the checkpoint of {rows} is optimistic"]
    if run.state.is_main_process:
        for name, logits in results.items():
            logits.save(run.dir / f"{name}_logits.npz")
        speeds = [
            info["train_samples_per_second"] for info in infos if info["train_samples_per_second"] > 0
        ]  # 0: resumed at its end
        speed = float(np.mean(speeds)) if speeds else None
        write_json(
            run.dir / "metrics.json",
            {**metrics, "folds": [info["metrics"] for info in infos], "train_samples_per_second": speed},
        )
        with run.phase("report"):
            write_report(
                run.dir,
                title=f"{run.dir.parent.name}/{run.dir.name}",
                config=run.config,
                history=[info["log_history"] for info in infos],
                results=scored,
                metrics=metrics,
                fold_metrics=[info["metrics"] for info in infos],
                notes=notes,
            )
    for name, values in metrics.items():
        print_once(
            f"{name}: accuracy {values['accuracy']:.4f} ± {values['standard_error']:.4f} (majority "
            f"{values['majority_share']:.4f}), "
            f"macro F1 {values['macro_f1']:.4f}, log loss {values['log_loss']:.4f}, "
            + "".join(f"{key} {values[key]:.4f}, " for key in task_metrics_of(values))
            + f"{values['n']} rows"
        )
    for warning in find_warnings(metrics, len(folds[0][0]["eval" if "eval" in parts else "held_out"].label_names)):
        print_once(f"warning: {warning}")
    return results


def push_folds(run: Run, training_args: TrainingArguments) -> None:
    """With push_to_hub: every fold, with its model card, to hub_model_id (default: named after the run folder);
    fold<k>/ if K >= 2."""
    if not training_args.push_to_hub or not run.state.is_main_process:
        return
    api = HfApi(token=training_args.hub_token)
    name = training_args.hub_model_id or f"{run.dir.parent.name}-{run.dir.name}"
    repository = api.create_repo(name, private=training_args.hub_private_repo, exist_ok=True).repo_id
    folders = sorted(run.dir.glob("fold*/fold.json"))
    for path in folders:
        inside = path.parent.name if len(folders) > 1 else None
        api.upload_folder(
            repo_id=repository,
            folder_path=path.parent,
            path_in_repo=inside,
            ignore_patterns=["checkpoints/*", "rows/*", "*.npz"],
        )
    print_once(f"pushed {len(folders)} models to {repository}")


def write_predictions(submission_file: Path, logits: Logits, task_metrics: TaskMetrics = None) -> None:
    """S.logits.npz beside S.csv and, where rows have labels, S.metrics.json, which is printed too. Call it on the first
    process."""
    logits.save(submission_file.with_suffix(".logits.npz"))
    print(f"{submission_file}: {len(logits.ids)} rows")
    if (logits.labels >= 0).any():
        metrics = all_metrics(logits, task_metrics)
        write_json(submission_file.with_suffix(".metrics.json"), metrics)
        print(
            ", ".join(
                f"{key} {value:.4f}" if isinstance(value, float) else f"{key} {value}" for key, value in metrics.items()
            )
        )
