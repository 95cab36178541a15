"""search.yaml: what common.search tries, in which order, and how the winner is carried to the slow preset."""

import contextlib
import io
import math
import sys
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from common.console import InputError
from common.files import read_yaml
from common.metrics import metric_of
from common.options.args import parse_train_args
from common.options.checks import check_number
from common.options.fields import DATA_FIELDS
from common.options.parser import did_you_mean
from common.options.task_module import arguments_of, load_data_module
from common.targets import Metric, as_target
from common.targets.registry import METRICS

KEYS = (
    "preset",
    "metric",
    "independent",
    "coupled",
    "coupled_options",
    "finalists",
    "finalist_folds",
    "seeds",
    "final",
)
FINAL_KEYS = ("preset", "keep", "learning_rate_scale")
UNBOUNDED = ("rmse", "mae", "mse")  # in units of the labels
EPOCHS = "num_train_epochs"
# The score of a run that diverged, below what any run that learns nothing has; of other metrics FAR is.
WORST = dict.fromkeys(("accuracy", "exact_match", "auc", "average_precision"), 0.0)
WORST |= dict.fromkeys(("f1", "macro_f1", "micro_f1", "weighted_f1"), 0.0)
WORST |= dict.fromkeys(("mcc", "quadratic_kappa", "pearson", "spearman"), -1.0)
WORST |= {"log_loss": 10.0}  # nats
FAR = 1e9
# What the search sets itself in each trial.
OWN = (
    "output_dir",
    "resume",
    "fold",
    "num_folds",
    "stop_after_epoch",
    "seed",
    "lr_scheduler_type",
    "config",
    *DATA_FIELDS,
)


@dataclass
class Space:
    """One search.yaml.

    independent: field -> values, the one to beat first. axes: coupled field -> values, without the epochs, which are
    scored on the way. coupled_options: fields of the runs at a constant rate only, as ema_decay, which does there what
    decay does for the others.
    """

    path: Path
    preset: Path
    metric: str
    independent: dict[str, list]
    axes: dict[str, list]
    max_epochs: int
    coupled_options: dict[str, Any]
    finalists: int
    finalist_folds: int
    seeds: list[int]
    final_preset: Path
    keep: list[str]
    learning_rate_scale: float
    raw: dict[str, Any] = field(repr=False)

    @property
    def own(self) -> Metric | None:
        """The folder's own metric where that is the one, also by the name of another."""
        own = getattr(sys.modules.get("data"), "METRIC", None)
        return own if isinstance(own, Metric) and own.name == self.metric else None

    @property
    def sign(self) -> int:
        """1 where the metric is better when it is higher, else -1."""
        known = self.own or METRICS.get(self.metric)
        return 1 if known is None or known.greater_is_better else -1

    @property
    def worst(self) -> float:
        """The score of a run that diverged. r2, or a folder's own metric, has no bound, and 0 may be its best."""
        return WORST.get("" if self.own else self.metric, -self.sign * FAR)

    @property
    def arms(self) -> list[dict[str, float]]:
        """All combinations of the axes' values; one training run scores all epochs of one arm."""
        return [dict(zip(self.axes, values, strict=True)) for values in product(*self.axes.values())]


def read_space(path: str | Path) -> Space:
    """Read search.yaml. Raises InputError that names the file and the key."""
    path = Path(path)
    raw = read_yaml(path)
    check_keys(raw, KEYS, str(path))
    for key in ("preset", "coupled", "final"):
        if key not in raw:
            raise InputError(f"{path}, key {key}: is missing")
    final = mapping(raw["final"], f"{path}, key final")
    check_keys(final, FINAL_KEYS, f"{path}, key final")
    if "preset" not in final:
        raise InputError(f"{path}, key final: has no preset, the slow one that the winner is carried to")
    coupled = dict(mapping(raw["coupled"], f"{path}, key coupled"))
    max_epochs = coupled.pop(EPOCHS, None)
    if not is_count(max_epochs):
        raise InputError(
            f"{path}, key coupled: {EPOCHS} {max_epochs!r} is not a whole number of 1 or more, the longest run"
        )
    independent = mapping(raw.get("independent") or {}, f"{path}, key independent")
    if "learning_rate" not in coupled or not 1 <= len(coupled) <= 2:
        raise InputError(
            f"{path}, key coupled: learning_rate, {EPOCHS} and at most one more field were expected, it has "
            f"{', '.join(coupled)}"
        )
    for name, values in [*independent.items(), *coupled.items()]:
        if name in (*OWN, EPOCHS) or name in coupled and name in independent:
            raise InputError(f"{path}, key {name}: cannot be searched")
        if not isinstance(values, list) or len(values) < 2 or len({str(value) for value in values}) < len(values):
            raise InputError(f"{path}, key {name}: {values!r:.80} is not a list of two different values or more")
        if any(isinstance(value, (list, dict)) or value is None for value in values):
            raise InputError(f"{path}, key {name}: a value is not a number, a word, true or false")
        if name in coupled:
            coupled[name] = sorted(
                number(value, f"{path}, key {name}", positive=name == "learning_rate") for value in values
            )
            if len(set(coupled[name])) < len(values):
                raise InputError(f"{path}, key {name}: {values!r:.80} holds a number twice")
    metric = raw.get("metric", "")
    check_scale(metric, path)
    seeds = raw.get("seeds", [1, 2])
    keep = final.get("keep", ["model_name_or_path"])
    if (
        not isinstance(seeds, list)
        or not seeds
        or not all(seed == 0 or is_count(seed) for seed in seeds)
        or len(set(seeds)) < len(seeds)
    ):
        raise InputError(f"{path}, key seeds: {seeds!r:.80} is not a list of different whole numbers")
    if not isinstance(keep, list):
        raise InputError(f"{path}, key final, keep: {keep!r:.80} is not a list of fields")
    counts = {key: raw.get(key, default) for key, default in (("finalists", 2), ("finalist_folds", 1))}
    for key, value in counts.items():
        if not is_count(value):
            raise InputError(f"{path}, key {key}: {value!r} is not a whole number of 1 or more")
    return Space(
        path=path,
        preset=path.parent / str(raw["preset"]),
        metric=metric,
        independent=independent,
        axes=coupled,
        max_epochs=max_epochs,
        coupled_options=mapping(raw.get("coupled_options") or {}, f"{path}, key coupled_options"),
        seeds=seeds,
        final_preset=path.parent / str(final["preset"]),
        keep=keep,
        learning_rate_scale=number(
            final.get("learning_rate_scale", 1), f"{path}, key final, learning_rate_scale", positive=True
        ),
        raw=raw,
        **counts,
    )


def check_options(task_dir: Path, space: Space, options: list[str]) -> tuple:
    """(task arguments, TrainingArguments) of the fast preset with these options of train.py.

    Settles the metric: what --metric names among the options, else search.yaml, else the preset, data.py or the target.
    Raises the InputErrors of train.py, for these and for every value of the space.
    """
    for option in options:
        name = option.split("=")[0].lstrip("-").replace("-", "_")
        if option.startswith("--") and name in ("resume", "fold", "stop_after_epoch", "output_dir", "config"):
            raise InputError(f"command line: {option} is set by the search itself; it goes on where it stopped")
    data = load_data_module(task_dir)
    arguments = arguments_of(data)
    target = as_target(getattr(data, "LABEL_NAMES", []))

    def parse(extra: dict[str, Any]) -> tuple:
        argv = ["--config", str(space.preset), *options, *as_options(extra)]
        with contextlib.redirect_stdout(io.StringIO()):
            return parse_train_args(arguments, task_dir, data.COMPETITION_FILES, "", argv)

    for name, values in {**space.independent, **space.axes}.items():
        for value in values:
            parse({name: value})
    parse(space.coupled_options)
    read_yaml(space.final_preset)
    args, training_args = parse({})
    if training_args.max_steps > 0 or training_args.load_best_model_at_end:
        raise InputError(
            f"{space.preset}: max_steps, early stopping and load_best_model_at_end do not go with a search"
        )
    if getattr(args, "stages", None):  # a trial's own learning rate or epochs would not be read
        raise InputError(f"{space.preset}: a run in stages does not go with a search, each stage has its own settings")
    named = (
        args.metric if any(option.split("=")[0] == "--metric" for option in options) else space.metric or args.metric
    )
    try:
        chosen = metric_of(named or None, "data", target)
    except InputError as error:
        raise InputError(f"{space.path}, key {error}") from error
    if chosen:  # of data.py, too
        check_scale(chosen.name, space.path)
    space.metric = chosen.name if chosen else "r2" if target.metric in UNBOUNDED else target.metric
    return args, training_args


def check_scale(metric: Any, path: Path) -> None:
    """Raise InputError for a metric in the labels' units: the search knows which differences of one are small."""
    if not isinstance(metric, str) or metric in UNBOUNDED:
        wanted = "a name of a metric that has the same scale in every contest was expected, r2 or spearman say"
        raise InputError(f"{path}, key metric: {metric!r:.80}: {wanted}")


def as_options(values: dict[str, Any]) -> list[str]:
    """Fields and values as a command line has them."""
    return [word for name, value in values.items() for word in (f"--{name}", str(value))]


def check_keys(values: dict, known: tuple[str, ...], where: str) -> None:
    for key in values:
        if key not in known:
            meant = did_you_mean(str(key), list(known))
            raise InputError(f"{where}, key {key}: is not one of {', '.join(known)}{meant}")


def mapping(value: Any, where: str) -> dict:
    if not isinstance(value, dict):
        raise InputError(f"{where}: {value!r:.80} is not a mapping")
    return value


def is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def number(value: Any, where: str, positive: bool = False) -> float | int:
    """A YAML number; 2e-5 is one, though YAML reads a string."""
    try:
        text = str(value).strip()
        converted = int(text) if text.isdecimal() else float(text)
    except ValueError as error:
        raise InputError(f"{where}: {value!r:.80} is not a number") from error
    check_number(where, converted, 0)
    if not math.isfinite(converted) or positive and converted == 0:
        raise InputError(f"{where}: {value!r:.80} is not a number above 0")
    return converted
