"""One model of all folds' adapters: their mean, exactly, and what it loses against the mean of the folds' logits.

LoRA's update of a layer is a product s B A, so the mean of the factors is not the mean of the updates. The mean of K
products is one of rank K r: A of all folds below each other, B of all beside each other over K, with the scale s kept
(no SVD, nothing is left out). Heads are averaged as they are: exact for a linear one given the same states; across the
encoder's nonlinearities no average of weights is that of the logits, hence the measurement.
"""

import math
import os
import shutil
from typing import Any

import datasets
import numpy as np
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoTokenizer

from common.decoders.adapters import ADAPTER, WEIGHTS, load_adapters
from common.decoders.family import fit_decoder
from common.files import atomic_write, read_json, write_json
from common.guards.manifest import write_sealed
from common.inference import predict_logits, start_accelerator
from common.logits import Logits
from common.results import TaskMetrics, all_metrics
from common.run import Run
from common.targets import labels_of_config
from common.targets.registry import decide
from common.text import Collator

FOLDER = "average"
OF_FOLDS = ("fold.json", "manifest.json")


def average_adapters(run: Run, results: dict[str, Logits], task_metrics: TaskMetrics = None) -> None:
    """Write <run>/average, a run of one fold that predict.py takes, and <run>/average.json: its metrics on the rows of
    eval_file beside those of the averaged logits, and how far the two differ on eval and test rows.

    results: of collect(). Where the folds are whole models (scratch, new words) it is said that there is none.
    """
    if not (run.fold_dir(0) / ADAPTER).exists():
        run.note("average_adapters: the folds are whole models, there are no adapters to average")
        return
    if run.state.is_main_process:
        write_average(run)
    run.state.wait_for_everyone()
    fold = run.dir / FOLDER / "fold0"
    accelerator = start_accelerator(run.config)
    model = load_adapters(fold, accelerator.device)
    tokenizer = AutoTokenizer.from_pretrained(fold)
    fit_decoder(model, tokenizer)
    found: dict[str, Any] = {}
    for name in ("eval", "test"):
        if name in results and run.cache_file(name).exists():
            rows = datasets.Dataset.from_file(str(run.cache_file(name)))
            own = predict_logits(model, rows, Collator(tokenizer), accelerator, labels_of_config(model.config))
            found[name] = compare(results[name], own, task_metrics)
    if run.state.is_main_process:
        write_json(run.dir / "average.json", found)
    for name, values in found.items():
        run.note(f"average_adapters, {name}: {describe(values)}")
    if "eval" not in found:
        run.note(
            "average_adapters: no labelled row is new to all folds, so its loss is not measured; give an eval_file"
        )


def write_average(run: Run) -> None:
    """<run>/average, whole or not at all."""
    folds = [run.fold_dir(fold) for fold in range(run.config["num_folds"])]
    target = run.dir / FOLDER
    made = run.dir / f".{FOLDER}.{os.getpid()}.tmp"
    for old in (made, target):
        shutil.rmtree(old, ignore_errors=True)
    (made / "fold0").mkdir(parents=True)
    for path in folds[0].iterdir():
        if path.is_file() and path.name not in OF_FOLDS and path.suffix != ".npz":
            shutil.copy2(path, made / "fold0" / path.name)
    config = read_json(folds[0] / ADAPTER)
    state = mean_state([load_file(fold / WEIGHTS) for fold in folds])
    save_file(state, made / "fold0" / WEIGHTS, metadata={"format": "pt"})
    write_json(made / "fold0" / ADAPTER, config | widened(config, len(folds)))
    own = [read_json(fold / "config.json") for fold in folds]
    write_json(made / "fold0" / "config.json", own[0] | mean_target([part.get("target", {}) for part in own]))
    with atomic_write(made / "config.yaml") as file:
        yaml.safe_dump({**run.config, "num_folds": 1}, file, sort_keys=False, allow_unicode=True)
    counts = np.sum([read_json(fold / "fold.json")["train_class_counts"] for fold in folds], axis=0).tolist()
    record = {"logits": [], "averaged": [fold.name for fold in folds], "train_class_counts": counts}
    write_sealed(made / "fold0" / "fold.json", record)
    os.replace(made, target)


def mean_state(states: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The adapters of all folds as one of K times the rank; heads averaged."""
    mean = {}
    for key in states[0]:
        parts = [state[key] for state in states]
        if ".lora_A." in key:
            mean[key] = torch.cat(parts, dim=0)
        elif ".lora_B." in key:
            mean[key] = torch.cat(parts, dim=1) / len(parts)
        else:
            mean[key] = torch.stack([part.double() for part in parts]).mean(0).to(parts[0].dtype)
    return {key: tensor.contiguous() for key, tensor in mean.items()}


def mean_target(targets: list[dict[str, Any]]) -> dict[str, Any]:
    """What config.json says of a number: each fold has the mean and scale of its own rows. {} of other targets."""
    if "scale" not in targets[0]:
        return {}
    return {"target": targets[0] | {key: float(np.mean([part[key] for part in targets])) for key in ("mean", "scale")}}


def widened(config: dict[str, Any], folds: int) -> dict[str, Any]:
    """Rank and alpha of K folds side by side, with the scale alpha / r (rsLoRA: alpha / sqrt(r)) kept."""
    grows = math.sqrt(folds) if config["use_rslora"] else folds
    return {"r": config["r"] * folds, "lora_alpha": config["lora_alpha"] * grows}


def compare(logits: Logits, own: Logits, task_metrics: TaskMetrics) -> dict[str, Any]:
    """Of averaged logits and those of the averaged adapters, of the same rows in the same order."""
    difference = float(np.abs(logits.logits - own.logits).mean())
    values: dict[str, Any] = {"rows": len(own.ids), "mean_difference_of_logits": difference}
    if logits.label_names.kind != "number":
        decided = [decide(part.logits, part.labels) for part in (logits, own)]
        values["same_prediction"] = float((decided[0] == decided[1]).reshape(len(own.ids), -1).all(axis=1).mean())
    if logits.label_names.kind == "classes" and (logits.labels >= 0).all():
        values["averaged_logits"] = all_metrics(logits, task_metrics)
        values["averaged_adapters"] = all_metrics(own, task_metrics)
        losses = [row_losses(part) for part in (own, logits)]
        change = losses[0] - losses[1]
        values["lost"] = float(change.mean())
        values["standard_error"] = float(change.std(ddof=1) / math.sqrt(len(change))) if len(change) > 1 else None
    return values


def row_losses(logits: Logits) -> np.ndarray:
    """(N,) cross-entropy."""
    shifted = logits.logits - logits.logits.max(1, keepdims=True)
    return np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(shifted)), logits.labels]


def describe(values: dict[str, Any]) -> str:
    if "same_prediction" not in values:
        difference = values["mean_difference_of_logits"]
        return f"its numbers are {difference:.4g} away from the averaged ones, the mean over {values['rows']} rows"
    same = f"predicts as the averaged logits do in {values['same_prediction']:.2%} of {values['rows']} rows"
    if "lost" not in values:
        return same
    losses = [values[name]["log_loss"] for name in ("averaged_adapters", "averaged_logits")]
    error = values["standard_error"]
    of_it = "" if error is None else f" (paired standard error {error:.4f})"
    return f"{same}; log loss {losses[0]:.4f} against {losses[1]:.4f}, {values['lost']:+.4f}{of_it}"
