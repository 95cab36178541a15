"""Where to start on a new data set: learning rate, epochs, batch and length, from what can be measured and from earlier
runs.

The model is a weighted nearest-neighbour mean. A run that is like the new task in its features (features.py) counts
much, one that is unlike it little, and the literature's defaults count as much as a run at a distance of one standard
deviation per feature. Without records they are all there is.
"""

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.console import InputError, print_once
from common.files import read_json
from common.options.fields import TextArguments
from common.options.task_module import arguments_of, load_data_module
from common.run import read_config

# J. Devlin et al., BERT (2019), appendix A.3: learning rate 5e-5, 3e-5 or 2e-5, 2 to 4 epochs, batch 16 or 32.
DEFAULTS = {"learning_rate": 3e-5, "num_train_epochs": 3.0, "per_device_train_batch_size": 32.0}
LOGARITHMIC = ("rows", "classes", "tokens", "long_tokens", "vector_variance", "parameters", "layers", "hidden")
PLAIN = ("imbalance", "hangul", "latin", "vector_mean")


@dataclass(frozen=True)
class Record:
    """What an earlier run had (features) and what was right for it (settings, keys as in DEFAULTS)."""

    name: str
    features: dict[str, float]
    settings: dict[str, float]


def propose(features: dict[str, float], records: list[Record]) -> tuple[dict[str, float], dict[str, float]]:
    """Settings for a new task, and the weight of each record in them ("defaults" for the literature's); weights sum to
    1.

    Settings are geometric means. Record i counts exp(-d_i^2 / 2), where d_i^2 is the mean over features of the squared
    difference in standard deviations of the records; the defaults count exp(-1 / 2).
    """
    weights = {"defaults": np.exp(-0.5)}
    if records:
        points = np.array([vector(record.features) for record in records])
        deviation = np.maximum(np.vstack([points, vector(features)]).std(axis=0), 1e-9)
        distances = np.mean(((points - vector(features)) / deviation) ** 2, axis=1)
        weights |= {
            record.name: float(np.exp(-distance / 2)) for record, distance in zip(records, distances, strict=True)
        }
    total = sum(weights.values())
    weights = {name: float(weight / total) for name, weight in weights.items()}
    choices = {"defaults": DEFAULTS, **{record.name: record.settings for record in records}}
    settings = {
        key: float(np.exp(sum(weight * np.log(choices[name][key]) for name, weight in weights.items())))
        for key in DEFAULTS
    }
    return settings, weights


def vector(features: dict[str, float]) -> np.ndarray:
    """(F,) what distances are measured on: logarithms of counts and sizes, shares as they are."""
    return np.array([np.log(features[key]) for key in LOGARITHMIC] + [features[key] for key in PLAIN])


def read_records(run_dirs: list[Path]) -> list[Record]:
    """One record per data set and model: the run with the best accuracy. Raises InputError where a folder is not a
    finished run's."""
    best: dict[str, tuple[float, Record]] = {}
    for run_dir in [run for path in run_dirs for run in finished_runs(path)]:
        for file in ("metrics.json", "features.json"):
            if not (run_dir / file).exists():
                raise InputError(f"{run_dir}: holds no {file}; the folder of a finished run was expected")
        config = read_config(run_dir)
        features = read_json(run_dir / "features.json")
        metrics = read_json(run_dir / "metrics.json")
        score = metrics.get("oof", metrics.get("eval")).get("accuracy")
        if score is None:
            raise InputError(f"{run_dir}: its labels are no classes; recommend compares accuracies")
        settings = {key: float(config.get(key, default)) for key, default in TRAINER_DEFAULTS.items()}
        record = read_json(run_dir / "run.json") if (run_dir / "run.json").exists() else {}
        devices = record.get("num_processes", 1)
        settings["per_device_train_batch_size"] *= config.get("gradient_accumulation_steps", 1) * devices
        key = f"{config.get('train_file')} {config.get('model_name_or_path')} {features['rows']}"
        if key not in best or score > best[key][0]:
            best[key] = score, Record(str(run_dir), features, settings)
    return [record for _, record in best.values()]


def finished_runs(path: Path) -> list[Path]:
    """The finalists of a search that have not diverged; a run's folder as it is."""
    return [file.parent for file in sorted(path.glob("trials/finalists-*/metrics.json"))] or [path]


# transformers', where a run's config.yaml leaves them out
TRAINER_DEFAULTS = {"learning_rate": 5e-5, "num_train_epochs": 3.0, "per_device_train_batch_size": 8.0}


def recommend(task_dir: Path, preset: Path | None, run_dirs: list[Path], options: list[str]) -> None:
    """Measure the task's training rows and model with train.py, then print the proposal, as lines of a preset, and
    where it comes from."""
    if not issubclass(arguments_of(load_data_module(task_dir)), TextArguments):
        raise InputError(f"recommend: measures texts, and {task_dir.name} reads none")
    records = read_records(run_dirs)
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            str(task_dir / "train.py"),
            "--config",
            str(preset or task_dir / "configs" / "tune.yaml"),
            *options,
        ]
        command += [
            "--lang",
            "en",  # its last line is read here
            "--max_length",
            "auto",
            "--num_folds",
            "1",
            "--stop_after_epoch",
            "0",
            "--output_dir",
            f"{folder}/run",
        ]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode == 2:
            raise InputError(result.stderr.strip().splitlines()[-1].removeprefix("error: "))
        if result.returncode:
            raise RuntimeError(result.stderr)
        features = read_json(Path(folder) / "run" / "features.json")
    settings, weights = propose(features, records)
    print_once(f"# measured: {', '.join(f'{key} {value:.4g}' for key, value in features.items())}")
    for name, weight in sorted(weights.items(), key=lambda item: -item[1]):
        print_once(f"# {weight:.0%} from {'the literature (BERT, appendix A.3)' if name == 'defaults' else name}")
    if not records:
        print_once("# no records: the literature's defaults")
    print_once(f"learning_rate: {settings['learning_rate']:.1e}")
    print_once(f"num_train_epochs: {max(1, round(settings['num_train_epochs']))}")
    print_once(f"per_device_train_batch_size: {2 ** round(np.log2(settings['per_device_train_batch_size']))}")
    print_once(f"max_length: {features['max_tokens']}")
