"""configs/ of a new folder: demo (the made sample), tune (fast), final (the submission), search (what to try)."""

import json
import re
from pathlib import Path

from common.guards.spelling import nfc
from common.new.kinds import Target
from common.search.space import UNBOUNDED

# script of the texts -> (model of tune.yaml, of final.yaml); models of Hugging Face's hub
MODELS = {
    "english": ("bert-base-uncased", "bert-large-uncased"),
    "korean": ("klue/roberta-base", "klue/roberta-large"),
    "other": ("xlm-roberta-base", "xlm-roberta-large"),
}
SMALL = ("shallow", "small")
FEW_ROWS = 3000  # up to here a small model's submission is a matter of minutes on two cores
MANY_LABELS = 10  # with more, and with several labels a row, the first epochs go by until the majority is left behind
RATES = {
    "shallow": "1e-4",
    "small": "5e-5",
    "base": "3e-5",
    "large": "1e-5",
}  # learning rates that do not collapse, by the size of a model


def size_of(model: str) -> str:
    """shallow (small, of up to 6 layers), small, base or large: by its width and depth where a folder is named, else by
    its name."""
    config = Path(model) / "config.json"
    if config.is_file():
        values = json.loads(config.read_text(encoding="utf-8"))
        width, depth = int(values.get("hidden_size", 768)), int(values.get("num_hidden_layers", 12))
        return ("shallow" if depth <= 6 else "small") if width <= 512 else "base" if width < 1024 else "large"
    name = nfc(model).lower()
    if "large" in name:
        return "large"
    if not any(word in name for word in ("small", "mini", "tiny")):
        return "base"
    return "shallow" if re.search(r"l-?[1-6](?!\d)|tiny", name) else "small"


def epochs_of(target: Target) -> int:
    """Of the presets."""
    return 4 if target.kind == "several" or (target.kind == "labels" and len(target.names) > MANY_LABELS) else 3


def search_metric(metric: str) -> str:
    """The line of search.yaml where the metric of data.py will not do: a search compares what has no unit."""
    return "metric: r2 # has no unit, as rmse and mae have\n" if metric in UNBOUNDED else ""


def text_presets(
    script: str, model: str | None, metric: str, target: Target, extra: str = "", rows: int | None = None
) -> dict[str, str]:
    """File name -> YAML. rows: to train on, where few are to be done in minutes; extra: lines that the folder's own
    options need."""
    fast, slow = (model, model) if model else MODELS[script]
    sizes = [size_of(fast), size_of(slow)]
    epochs = epochs_of(target)
    folds, final_epochs = (3, epochs - 1) if sizes[1] in SMALL and rows and rows <= FEW_ROWS else (5, epochs)
    times = 5 * epochs / (folds * final_epochs)
    whole = f"5 folds of {epochs} epochs would take {times:.2g} times as long"
    few = f"# {rows} rows and a small model are for a CPU: {whole}.\n"
    common = "max_length: auto\nper_device_train_batch_size: 16\nwarmup_steps: 0.1\nweight_decay: 0.01\n" + extra
    rates = [RATES[size] for size in sizes]
    head = [f"head_learning_rate: {'1e-3' if size in SMALL else '1e-4'}\n" for size in sizes]
    around = sorted({f"{float(rates[0]) * factor:.2g}" for factor in (0.25, 0.5, 1, 2, 4)}, key=float)
    return {
        "demo.yaml": (
            "# The sample, which is made of the columns' types and says nothing of the contest: a small model from\n"
            "# scratch, no network, a CPU, some seconds. It shows that everything runs.\n"
            "train_file: sample/train.csv\ntest_file: sample/test.csv\n"
            "sample_submission_file: sample/sample_submission.csv\n"
            "model_name_or_path: scratch\nnum_folds: 2\nlearning_rate: 1e-3\nnum_train_epochs: 4\n"
            "per_device_train_batch_size: 8\nmax_length: auto\n" + extra
        ),
        "tune.yaml": (
            "# The fast set of parameters, for many trials: a tenth of the rows is held back.\n"
            f"model_name_or_path: {fast}\nlearning_rate: {rates[0]}\n{head[0]}num_train_epochs: {epochs}\n{common}"
        ),
        "final.yaml": (
            f"# The slow set of parameters, for the submission: the average of {folds} folds.\n{few * (folds < 5)}"
            f"model_name_or_path: {slow}\nnum_folds: {folds}\n"
            f"learning_rate: {rates[1]}\n{head[1]}num_train_epochs: {final_epochs}\n{common}"
        ),
        "search.yaml": (
            "# One thing at a time on the fast preset, then learning rate and epochs: python -m common.search\n"
            f"preset: tune.yaml\n{search_metric(metric)}independent: # the first value is the one to beat\n"
            "  warmup_steps: [0.1, 0.2]\n  weight_decay: [0.01, 0.0]\n"
            f"coupled: # the rates to train at, and the longest run\n  learning_rate: [{', '.join(around)}]\n"
            "  num_train_epochs: 5\nfinal:\n  preset: final.yaml\n"
        ),
    }
