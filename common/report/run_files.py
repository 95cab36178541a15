"""What the files of a run say of it: its record, its options, its metrics. Damaged ones are a sentence."""

import math
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from common.console import InputError
from common.files import read_json, read_yaml

UNCERTAIN = ("accuracy", "exact_match", "mae")  # what the `standard_error` of a target's metrics belongs to
ABBREVIATIONS = ("f1", "auc", "auprc", "mcc", "mae", "mse", "rmse")
LOSSES = ("log_loss", "mse")


@dataclass
class RunFiles:
    """record: run.json, of a run whose folds were trained alone the first fold's. config: config.yaml. metrics: by the
    name of a result ("oof", "eval"); empty where the run has not ended."""

    path: Path
    record: dict[str, Any]
    config: dict[str, Any]
    metrics: dict[str, dict[str, float]]

    @property
    def task(self) -> str:
        return str(self.record.get("task", ""))

    @property
    def metric(self) -> str | None:
        """The metric that the options name, or data.py did."""
        named = self.config.get("metric") or self.record.get("metric")
        return str(named) if named else None

    @property
    def model(self) -> str:
        return Path(str(self.config.get("model_name_or_path", ""))).name

    @property
    def minutes(self) -> float:
        return float(self.record["seconds"].get("total", 0)) / 60

    @property
    def changed(self) -> str:
        """When run.json was last written, local time."""
        return datetime.fromtimestamp(start_of(self.path).stat().st_mtime).strftime("%Y-%m-%d %H:%M")


def read_run(path: Path) -> RunFiles:
    """Raises InputError, which names the file, where one is missing or does not hold what a run writes."""
    record_file = start_of(path)
    record = read_json(record_file)
    config = read_yaml(record_file.with_name("config.yaml"))
    mappings = {key: record.setdefault(key, {}) for key in ("seconds", "data", "packages")}
    if not all(isinstance(value, dict) for value in mappings.values()) or not number_in(record["seconds"], "total"):
        raise InputError(f"{record_file}: is damaged, its seconds, data or packages are not what a run writes")
    metrics = {}
    if (path / "metrics.json").exists():
        for name, values in read_json(path / "metrics.json").items():
            if name in ("oof", "eval"):
                found = values if isinstance(values, dict) else {}
                metrics[name] = {key: value for key, value in found.items() if number_in(found, key)}
                if not metrics[name]:
                    raise InputError(f"{path / 'metrics.json'}: is damaged, its {name} holds no metrics")
    return RunFiles(path, record, config, metrics)


def start_of(path: Path) -> Path:
    """run.json of a run; of one whose folds were trained alone, the first fold's. Raises InputError for none."""
    found = [path / "run.json", *sorted(path.glob("fold*/run.json"))]
    for record in found:
        if record.is_file():
            return record
    raise InputError(f"{path}: holds no run.json; the folder of a run was expected")


def sha256_of(run: RunFiles, option: str) -> Any:
    """What run.json says of the file of an option."""
    entry = run.record["data"].get(option)
    return entry.get("sha256") if isinstance(entry, dict) else None


def number_in(values: dict[str, Any], key: str) -> bool:
    """Whether a value is a finite number, or absent."""
    value = values.get(key, 0)
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def score_of(metric: str | None, values: dict[str, float]) -> tuple[str, float, float | None]:
    """(name, value, standard error or None) of the metric that was to be good: the one that was named, else the one
    whose error was measured, else the target's."""
    measured = [key.removesuffix("_error") for key in values if key.endswith("_error")]
    name = next(name for name in (metric, *measured, "quadratic_kappa", *values) if name in values)
    uncertain = next((key for key in UNCERTAIN if key in values), None)
    error = values.get(f"{name}_error", values.get("standard_error") if name == uncertain else None)
    return name, values[name], error


def words(metric: str) -> str:
    """A metric's key as people read it."""
    return " ".join(word.upper() if word in ABBREVIATIONS else word for word in metric.split("_"))


def loss_of(values: dict[str, float]) -> float | None:
    return next((values[key] for key in LOSSES if key in values), None)
