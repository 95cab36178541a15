"""Whether a preset of a task can run here: its data, its model, what it needs of memory and disk, its precision."""

import argparse
import io
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, fields
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from transformers import TrainingArguments

from common.console import InputError
from common.doctor.findings import GB, Finding, fatal_names
from common.doctor.hub import Hub, is_cached
from common.doctor.machine import device, free_of_device
from common.guards.terminal import told
from common.memory.__main__ import SHAPES, config_of, largest_batch, need, step_of
from common.memory.parts import Step, memory_of
from common.offline.__main__ import repository_of
from common.options.args import TRAINING_DEFAULTS, parse_train_args
from common.options.decoders import check_bitsandbytes
from common.options.fields import ModelArguments
from common.options.parser import Parser
from common.options.paths import find_data_files, relative
from common.options.presets import choose_preset, read_preset, resolve_preset
from common.options.task_module import arguments_of, load_data_module
from common.workers.plan import BASE, BYTES_TRAINED, parameters_of

HALVES = "lower per_device_train_batch_size; on one GPU a fold goes on with half of it by itself"
LESS = "see docs/questions.md, Out of memory"
ADAMW = 8  # bytes a weight


@dataclass
class Preset:
    """A preset as train.py would read it. given: what its file has. args: the task's arguments. values: those and
    TrainingArguments', by name."""

    task_dir: Path
    path: Path
    why: str
    data: ModuleType
    given: dict[str, Any]
    args: Any
    values: argparse.Namespace


def read(task_dir: Path, config: str | None) -> Preset:
    """The preset that train.py would take. Raises InputError for a folder that is no task's, and for a key or a value
    that no option has."""
    data = load_data_module(task_dir)
    arguments = arguments_of(data)
    path, why = choose_preset(config, task_dir, data.COMPETITION_FILES, set())
    given = read_preset(path, task_dir)
    parser = Parser(arguments, TrainingArguments)
    parser.set_defaults(**TRAINING_DEFAULTS)
    parser.set_preset(resolve_preset(given, task_dir, arguments.DATA_FIELDS), path)
    values = parser.parse_known_args([])[0]
    args = arguments(**{item.name: getattr(values, item.name) for item in fields(arguments)})
    return Preset(task_dir, path, why, data, given, args, values)


def look_at(preset: Preset, hub: Hub) -> Iterator[Finding]:
    """A line on each thing that the preset needs."""
    yield find_data(preset)
    yield (model := find_model(preset, hub))
    yield from find_precision(preset)
    parts = needed(preset, not model.fatal)
    yield find_room(preset, parts)
    yield find_disk(preset, parts)


def find_data(preset: Preset) -> Finding:
    """The files that train.py would read."""
    said = io.StringIO()
    try:
        with redirect_stdout(said):
            find_data_files(preset.args, preset.task_dir, preset.data.COMPETITION_FILES)
    except InputError as error:
        return Finding("data", "not found", str(error), True)
    found = [getattr(preset.args, key) for key in preset.args.DATA_FIELDS]
    names = [str(relative(Path(path))) for path in found if path is not None]
    return Finding("data", "; ".join([", ".join(names), *said.getvalue().splitlines()]))


def find_model(preset: Preset, hub: Hub) -> Finding:
    """Where its weights come from."""
    name = preset.args.model_name_or_path
    repository = None
    if getattr(preset.args, "start", None) != "scratch":
        weights = getattr(preset.args, "pretrained_weights", None)
        repository = repository_of(name, weights, preset.task_dir)
    if repository is None:
        return Finding("model", f"{name}, which the hub is not asked for")
    if is_cached(repository):
        return Finding("model", f"{repository}, in the hub's cache")
    if (problem := hub.ask(repository)) is None:
        return Finding("model", f"{repository}, to be downloaded")
    how = f"bring it from a machine with a network: python -m common.offline {preset.path} FOLDER"
    return Finding("model", f"{repository} is not in the cache, and {problem}", how, True)


def find_precision(preset: Preset) -> Iterator[Finding]:
    """A line where what is asked for cannot be had."""
    values = preset.values
    kind = "cpu" if values.use_cpu else device()
    if values.fp16 and kind == "cpu":
        yield Finding("precision", "fp16 needs a GPU", "--fp16 false --bf16 true on a CPU", True)
    if getattr(values, "quantization", "none") != "none":
        try:
            check_bitsandbytes(values.quantization, kind)
        except InputError as error:
            yield Finding("precision", values.quantization, told(str(error)).removeprefix("quantization: "), True)


@dataclass
class Needed:
    """Bytes: whole: of a training step with all that stands around it; weights: of a model as it is saved; moments: of
    its optimizer. rows: the most in a batch that fit, where that was counted. how: what was counted."""

    whole: float
    weights: float
    moments: float
    rows: int | None
    how: str


def needed(preset: Preset, reachable: bool) -> Needed:
    """What the preset needs, by common.memory of models that transformers builds from a configuration; of others their
    weights, gradients, moments and 1.5 GB, as --fold_workers counts. reachable: whether the model can be asked for."""
    values = vars(preset.values)
    name = preset.args.model_name_or_path
    length = str(values.get("max_length"))
    known = reachable or name in SHAPES
    if isinstance(preset.args, ModelArguments) and name != "scratch" and length.isdecimal() and known:
        names = [item.name for item in fields(Step)] + ["bf16", "fp16", "per_device_train_batch_size"]
        given = {key: getattr(values[key], "value", values[key]) for key in names if key in values}
        step = step_of(given, len(getattr(preset.data, "LABEL_NAMES", "")) or 2, preset.path)
        try:
            return by_parts(preset, config_of(name, preset.path), step)
        except InputError:  # a model that cannot be counted
            pass
    count = parameters_of(preset.args)
    return Needed(BASE + BYTES_TRAINED * count, 4 * count, ADAMW * count, None, "without activations")


def by_parts(preset: Preset, config: Any, step: Step) -> Needed:
    """By common.memory, whose parts are those of a GPU; a process on the CPU takes BASE beside them."""
    parts = memory_of(config, step)
    weights = parts["adapters"] if step.lora_r and not preset.values.merge_adapters else parts["weights"]
    how = f"{step.batch_size} rows of {step.max_length} tokens"
    free = free_of_device(preset.values.use_cpu)
    if preset.values.use_cpu or not torch.cuda.is_available():
        return Needed(BASE + parts["total"], weights, parts["moments"], None, how)
    rows = None
    if need(parts["total"]) > free:
        one, two = (memory_of(config, Step(**{**vars(step), "batch_size": size}))["total"] for size in (1, 2))
        rows = largest_batch(one, two, free)
    return Needed(need(parts["total"]), weights, parts["moments"], rows, how)


def find_room(preset: Preset, needed: Needed) -> Finding:
    """Whether its training step fits into memory."""
    free = free_of_device(preset.values.use_cpu)
    value = f"needs {needed.whole / GB:.1f} GB ({needed.how}), {free / GB:.1f} GB are free"
    if needed.whole <= free:
        return Finding("room", value)
    if needed.rows:
        return Finding("room", value, f"{needed.rows} rows fit: {HALVES}")
    return Finding("room", value, LESS, True)


def find_disk(preset: Preset, needed: Needed) -> Finding:
    """Whether the folds' models fit on the disk of the runs, and the checkpoints of one that is trained."""
    values = preset.values
    epochs = math.ceil(values.num_train_epochs)
    kept = min(values.save_total_limit or epochs, epochs) + 1  # one is written before the oldest goes
    saves = str(getattr(values.save_strategy, "value", values.save_strategy)) != "no"
    size = values.num_folds * needed.weights + saves * kept * (needed.weights + needed.moments)
    folder = Path(values.output_dir or Path("runs", preset.task_dir.resolve().name)).absolute()
    there = next(path for path in (folder, *folder.parents) if os.path.exists(path))
    free = shutil.disk_usage(there).free
    value = f"needs {size / GB:.1f} GB, {free / GB:.1f} GB are free on that of {relative(there)}"
    how = "make room, or name an --output_dir on another disk; --save_total_limit 1 keeps fewer checkpoints"
    return Finding("disk", value) if size <= free else Finding("disk", value, how, True)


def nearest(preset: Preset, hub: Hub) -> Path | None:
    """The preset of the same folder that can run here and differs in the fewest fields; None where there is none."""
    others = []
    for path in sorted((preset.task_dir / "configs").glob("*.yaml")):
        try:
            others.append(read(preset.task_dir, str(path)))
        except InputError:  # a search, or a damaged one
            continue
    for other in sorted(others, key=lambda other: differences(preset.given, other.given)):
        if other.given != preset.given and not fatal_names(look_at(other, hub)):
            return relative(other.path)
    return None


def differences(one: dict[str, Any], other: dict[str, Any]) -> int:
    """In how many fields two presets differ."""
    return sum(one.get(key) != other.get(key) for key in one.keys() | other.keys())


def check(preset: Preset) -> None:
    """Everything that train.py looks at before it reads data. Raises its InputError."""
    with redirect_stdout(io.StringIO()):
        parse_train_args(
            type(preset.args), preset.task_dir, preset.data.COMPETITION_FILES, "", ["--config", str(preset.path)]
        )
