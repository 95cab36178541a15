"""What the types of the fields cannot say, found out before anything is written."""

import dataclasses
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.console import InputError, first_line
from common.guards.options import check_optimizer_reads
from common.guards.special import refuse_special_options
from common.metrics import task_metric
from common.options.fields import MAX_SEED
from common.targets import Classes, as_target, with_metric

TRACKERS = ("tensorboard", "wandb", "mlflow")  # whose package has the name that report_to has
# What the Trainer's own fields may be: (least, most), most None for no bound.
TRAINING_LIMITS = {
    "label_smoothing_factor": (0, 1),
    "adam_beta1": (0, 1),
    "adam_beta2": (0, 1),
    "weight_decay": (0, None),
    "warmup_steps": (0, None),
    "max_grad_norm": (0, None),
    "adam_epsilon": (0, None),
    "dataloader_num_workers": (0, None),
    "neftune_noise_alpha": (0, None),
    "gradient_accumulation_steps": (1, None),
    "per_device_train_batch_size": (1, None),
    "per_device_eval_batch_size": (1, None),
}


def check_values(args: Any, training_args: Any) -> None:
    """What the types cannot say of a train.py's options, its own check() included. Raises InputError."""
    check_limits(args)
    for name, (least, most) in TRAINING_LIMITS.items():
        check_number(name, getattr(training_args, name), least, most)
    check_number("seed", training_args.seed, 0, MAX_SEED - args.num_folds)  # because fold k trains with seed + k
    if training_args.max_steps == 0:
        raise InputError("max_steps: 0 trains nothing; a number above 0 was expected, or -1 for num_train_epochs")
    for name in ("num_train_epochs", "learning_rate"):
        if not 0 < getattr(training_args, name) < math.inf:
            raise InputError(f"{name}: {getattr(training_args, name)} is not a number above 0")
    args.check(training_args)
    target = task_target(args)
    target.check(args, training_args)
    metric = task_metric(args, target)
    check_trainer(training_args, with_metric(target.watched, metric))
    check_folder(Path(training_args.output_dir or "runs"), "output_dir")
    if args.fold_workers not in ("auto", "1"):
        from common.workers.plan import check_memory

        check_memory(args, training_args)


def check_limits(args: Any) -> None:
    """Every number within the LIMITS of its group, else not below 0; every path a file or a folder. Raises
    InputError."""
    refuse_special_options(args)
    limits = {}
    for group in reversed(type(args).__mro__):
        limits |= vars(group).get("LIMITS", {})
    for item in dataclasses.fields(args):
        value = getattr(args, item.name)
        if item.name in limits:
            check_number(item.name, value, *limits[item.name])
        elif isinstance(value, (int, float)) and item.default is not None:
            check_number(item.name, value, 0)


def check_predict_values(args: Any) -> None:
    """The same for a predict.py. Raises InputError."""
    check_limits(args)
    args.check()
    for path in (args.test_file, *args.run_dir, args.sample_submission_file or args.test_file):
        if not os.path.exists(path):
            raise InputError(f"{path}: no such file or folder")
    target = Path(args.submission_file)
    if target.is_dir():  # an empty name is the current folder
        raise InputError(f"{args.submission_file}: is a folder, a file was expected (submission_file)")
    inputs = (args.test_file, args.sample_submission_file or args.test_file)
    if os.path.realpath(target) in map(os.path.realpath, inputs):
        raise InputError(f"{target}: would overwrite an input file; name another --submission_file")
    check_folder(target.parent, "submission_file")
    for suffix in (".logits.npz", ".metrics.json"):
        beside = target.with_suffix(suffix)
        if beside.is_dir():
            raise InputError(f"{beside}: is a folder, and this file stands beside the submission")
        temporary = beside.with_name(f".{beside.name}.{os.getpid()}.tmp")
        check_folder(temporary, "submission_file")  # because the name may be too long


def task_target(args: Any) -> Classes:
    """The target that the data.py of a train.py's arguments names; classes without names where it reads them."""
    return as_target(getattr(sys.modules[type(args).__module__], "LABEL_NAMES", []))


def check_trainer(training_args: Any, watched: Sequence[str]) -> None:
    """What the Trainer would find out only when the run folder is written. Raises InputError."""
    from transformers.integrations import get_available_reporting_integrations

    metric = training_args.metric_for_best_model
    if metric is not None and metric.removeprefix("eval_") not in ("loss", *watched):
        names = ", ".join(("loss", *watched))
        raise InputError(f"metric_for_best_model: {metric!r} is not one of {names}, nor what --metric names")
    if training_args.save_strategy == "best" and metric is None:
        raise InputError("save_strategy: best needs a metric_for_best_model")
    if training_args.fp16 and training_args.device.type == "cpu":  # where Accelerate trains in float32 and says nothing
        raise InputError("fp16: needs a GPU; on a CPU use bf16")
    if not isinstance(training_args.lr_scheduler_kwargs, dict | None):
        raise InputError(f"lr_scheduler_kwargs: {training_args.lr_scheduler_kwargs!r} is not a mapping")
    check_optimizer(training_args)
    check_optimizer_reads(training_args, "adam_beta1", "adam_beta2", "adam_epsilon")
    available = get_available_reporting_integrations()
    for name in training_args.report_to:
        if name not in available:
            install = f"; pip install {name}" if name in TRACKERS else ""
            installed = ", ".join(["none", *available])
            raise InputError(f"report_to: {name} is unknown or not installed; installed are {installed}{install}")


def check_optimizer(training_args: Any) -> None:
    """Make optimizer and schedule as the Trainer will, for one number. Raises InputError where they take other options
    or packages."""
    import torch
    from transformers import Trainer, get_scheduler

    weight = torch.nn.Parameter(torch.zeros(1))
    try:
        optimizer_class, options = Trainer.get_optimizer_cls_and_kwargs(training_args)
        if "model" not in options and "params" not in options:
            optimizer_class([weight], **options)
    except (ValueError, TypeError, ImportError, KeyError, AssertionError) as error:
        raise InputError(f"optim, optim_args: {first_line(error)}") from error
    check_optimizer_reads(training_args, "optim_args")
    try:
        get_scheduler(
            training_args.lr_scheduler_type,
            torch.optim.SGD([weight], lr=1.0),
            num_warmup_steps=1,
            num_training_steps=10,
            scheduler_specific_kwargs=dict(training_args.lr_scheduler_kwargs or {}),
        )
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"lr_scheduler_type, lr_scheduler_kwargs: {first_line(error)}") from error


def check_number(name: str, value: float | None, least: float, most: float | None = None) -> None:
    """Raise InputError where a number is given that is not finite and between least and most."""
    if value is None or least <= value < math.inf and (most is None or value <= most):
        return
    wanted = f"{least} or more" if most is None else f"between {least} and {most}"
    raise InputError(f"{name}: {value} is not {wanted}")


def check_folder(folder: Path, name: str) -> None:
    """Raise InputError where `folder` is not one and cannot become one. Makes nothing."""
    try:
        folder.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:  # a name that is too long, say
        raise InputError(f"{folder}: cannot be written ({name}: {error.strerror.lower()})") from error
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if os.path.exists(path))
    if not there.is_dir():
        raise InputError(f"{there}: is a file, a folder was expected ({name})")
    if not os.access(there, os.W_OK):
        raise InputError(f"{there}: cannot be written ({name})")
