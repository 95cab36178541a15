"""How many folds are trained beside each other, with how many threads each, and whether the memory is there for it.

plan = make_plan(run.args, run.training_args, splits, rows)
plan.workers, plan.threads[fold], plan.devices
"""

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import HFValidationError

from common.batches import row_lengths
from common.console import InputError, print_once
from common.guards.inputs import weight_files, weights_paths

BYTES_TRAINED = 16  # a parameter, in float32: itself, its gradient and AdamW's two moments
BASE = 1.5e9  # bytes of a process beside that: Python, torch, a batch's activations
UNKNOWN = 50_000_000  # parameters of a model that has no file here
SCRATCH = 1_000_000
OTHERS = (".bin", ".pt", ".pth", ".ckpt", ".pyth")
# Operations from which folds are worth processes of their own, which take some ten seconds to start: half a minute to a
# minute of one process.
WORTH = 1e13
POSITIONS = {"images": 49, "clips": 150}  # how often a weight is used for a row; for texts: tokens


@dataclass
class Plan:
    """workers: processes at the same time. threads: of each fold. devices: GPUs, as CUDA_VISIBLE_DEVICES names them."""

    workers: int
    threads: list[int]
    devices: list[str]


def make_plan(args: Any, training_args: Any, splits: Sequence[tuple], rows: dict[str, Any]) -> Plan:
    """What --fold_workers asks for, or for auto what the machine has. Raises InputError where the memory is too small.

    Depends on options, data and machine alone, not on what is trained already, so that a run that is stopped goes on
    with the same threads, and to the same bits.
    """
    folds = len(splits)
    cores = torch.get_num_threads()  # --torch_num_threads, or torch's own
    devices = visible_devices() if training_args.device.type == "cuda" else []
    given = None if args.fold_workers == "auto" else int(args.fold_workers)
    wanted = min(folds, given or len(devices) or cores)
    if given is None and not (devices or training_args.device.type == "cpu" and not args.torch_num_threads):
        wanted = 1  # an accelerator that is no GPU; or threads were counted out
    if wanted > 1 and given is None and work(args, training_args, splits, rows) < WORTH:
        wanted = 1
    workers, need = fitting(wanted, args, devices)
    if workers < wanted:
        if given is not None:
            refuse_workers(given, workers, need)
        print_once(f"fold_workers auto: {workers} instead of {wanted}, because they need {need}")
    return Plan(workers, threads_of(folds, workers, cores, args.torch_num_threads), devices)


def check_memory(args: Any, training_args: Any) -> None:
    """Raise InputError where the memory is too small for a number of --fold_workers, before anything is written."""
    given = min(int(args.fold_workers), args.num_folds)
    workers, need = fitting(given, args, visible_devices() if training_args.device.type == "cuda" else [])
    if workers < given:
        refuse_workers(given, workers, need)


def fitting(wanted: int, args: Any, devices: Sequence[str]) -> tuple[int, str]:
    """How many of these processes the free memory holds, at least one, and what they need."""
    each, free = memory_of(args), free_memory(devices)
    return min(wanted, max(1, int(free / each))), f"{each / 1e9:.1f} GB each, {free / 1e9:.1f} GB are free"


def refuse_workers(given: int, workers: int, need: str) -> None:
    """Raise the InputError of too many --fold_workers."""
    what = "weights, gradients, AdamW's moments and 1.5 GB"
    raise InputError(f"fold_workers: {given} folds at a time need {need} ({what}); give {workers} or fewer")


def threads_of(folds: int, workers: int, cores: int, given: int | None) -> list[int]:
    """Threads of each fold: the given, else all cores shared out among those that are trained at the same time; after
    the last full round these are fewer, and have more each."""
    if given:
        return [given] * folds
    last = folds % workers or workers
    return [max(1, cores // (workers if fold < folds - last else last)) for fold in range(folds)]


def visible_devices() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    if not torch.cuda.is_available():
        return []
    names = os.environ.get("CUDA_VISIBLE_DEVICES")
    return names.split(",") if names else [str(number) for number in range(torch.cuda.device_count())]


def work(args: Any, training_args: Any, splits: Sequence[tuple], rows: dict[str, Any]) -> float:
    """About how many operations all folds take: 6 for each weight, position of a row and pass (Kaplan et al. 2020,
    arXiv 2001.08361, section 2.1: 2 forward and 4 backward)."""
    train = rows["train"]
    if isinstance(train, list):
        positions = POSITIONS["clips"]
    else:
        positions = row_lengths(train).mean() if "input_ids" in train.column_names else POSITIONS["images"]
    passes = sum(len(train_idx) for train_idx, _ in splits) * training_args.num_train_epochs
    if training_args.max_steps > 0:
        steps = training_args.per_device_train_batch_size * training_args.gradient_accumulation_steps
        passes = len(splits) * training_args.max_steps * steps
    return 6 * parameters_of(args) * float(positions) * passes


def memory_of(args: Any) -> float:
    """Bytes that a process needs to train a fold."""
    return BASE + BYTES_TRAINED * parameters_of(args)


def free_memory(devices: Sequence[str]) -> float:
    """Bytes that are free: of all GPUs where there are some, else of the machine, or of the container (cgroups 2)."""
    if devices:
        return float(sum(torch.cuda.mem_get_info(number)[0] for number in range(len(devices))))
    free = psutil.virtual_memory().available
    group = Path("/sys/fs/cgroup")
    try:
        most, used = ((group / name).read_text().strip() for name in ("memory.max", "memory.current"))
        cache = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())["inactive_file"]
    except (OSError, KeyError, ValueError):
        return float(free)
    return float(free if most == "max" else min(free, int(most) - int(used) + int(cache)))


def parameters_of(args: Any) -> int:
    """Weights of the model that is trained, from the files that hold them."""
    if args.model_name_or_path == "scratch":
        return SCRATCH
    paths = [Path(path) for _, path in weights_paths(args)] or hub_files(args.model_name_or_path)
    models = {}  # folder (of a run's folds each one) -> its files
    for path in paths:
        for file in weight_files(path) if path.is_dir() else [path]:
            models.setdefault(file.parent, []).append(file)
    return max(map(count_parameters, models.values()), default=0) or UNKNOWN


def count_parameters(files: Sequence[Path]) -> int:
    """Of one model; 0 where no file holds any."""
    if tensors := [file for file in files if file.suffix == ".safetensors"]:
        return sum(map(count_safetensors, tensors))
    return sum(file.stat().st_size for file in files if file.suffix in OTHERS) // 4


def hub_files(name: str) -> list[Path]:
    """The weights of a model of the hub that its cache has."""
    try:
        found = [try_to_load_from_cache(name, file) for file in ("model.safetensors", "pytorch_model.bin")]
    except (HFValidationError, ValueError):  # no name of the hub, timm's say
        return []
    return [Path(path) for path in found if isinstance(path, str)][:1]


def count_safetensors(path: Path) -> int:
    """Numbers in a file of safetensors, whose header of JSON gives each one's shape."""
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")


def steps_of(training_args: Any, train_idx: np.ndarray) -> int:
    """About how many steps a fold takes, for a bar."""
    if training_args.max_steps > 0:
        return training_args.max_steps
    effective = training_args.per_device_train_batch_size * training_args.gradient_accumulation_steps
    return math.ceil(math.ceil(len(train_idx) / effective) * training_args.num_train_epochs)
