"""What the types of the fields cannot say, found out before anything is written."""

import dataclasses
import math
import os
from pathlib import Path
from typing import Any

from common.errors import InputError, first_line

# What the Trainer's evaluations measure, so what metric_for_best_model can name.
WATCHED = ("accuracy", "macro_f1", "log_loss", "classes_predicted")
MAX_SEED = 2**32 - 1  # NumPy's
MAX_THREADS = 1024


def check_values(args: Any, training_args: Any) -> None:
    """What the types cannot say. Raises InputError."""
    check_number("num_folds", args.num_folds, 1)
    if args.fold is not None and not 0 <= args.fold < args.num_folds:
        raise InputError(f"fold: {args.fold} is not between 0 and {args.num_folds - 1} (num_folds {args.num_folds})")
    for key in (
        "max_train_samples",
        "max_eval_samples",
        "max_predict_samples",
        "tokens_per_batch",
        "early_stopping_patience",
    ):
        check_number(key, getattr(args, key, None), 1)
    check_number("stop_after_epoch", args.stop_after_epoch, 0)
    if args.stop_after_epoch is not None and args.num_folds > 1 and args.fold is None:
        raise InputError("stop_after_epoch: stops one fold, so with num_folds above 1 name it with --fold")
    if args.stop_after_epoch is not None and training_args.save_strategy.value != "epoch":
        raise InputError(
            f"stop_after_epoch: needs save_strategy epoch to go on later, it is {training_args.save_strategy.value}"
        )
    check_number("torch_num_threads", args.torch_num_threads, 1, MAX_THREADS)
    check_number("fold_seed", args.fold_seed, 0, MAX_SEED)
    check_number("seed", training_args.seed, 0, MAX_SEED - args.num_folds)  # fold k trains with seed + k
    shares = ("class_weight_strength", "min_speaker_share", "lora_dropout", "ema_decay", "layerwise_lr_decay")
    for key in (*shares, "oversample_ratio", "undersample_ratio", "feature_oversample_ratio"):
        check_number(key, getattr(args, key, None), 0, 1)
    for key in ("label_smoothing_factor", "adam_beta1", "adam_beta2"):
        check_number(key, getattr(training_args, key), 0, 1)
    for key in (
        "weight_decay",
        "warmup_steps",
        "max_grad_norm",
        "adam_epsilon",
        "dataloader_num_workers",
        "neftune_noise_alpha",
    ):
        check_number(key, getattr(training_args, key), 0)
    for key in ("gradient_accumulation_steps", "per_device_train_batch_size", "per_device_eval_batch_size"):
        check_number(key, getattr(training_args, key), 1)
    if training_args.max_steps == 0:
        raise InputError("max_steps: 0 trains nothing; a number above 0 was expected, or -1 for num_train_epochs")
    rates = {key: getattr(training_args, key) for key in ("num_train_epochs", "learning_rate")}
    for key, value in {**rates, "head_learning_rate": getattr(args, "head_learning_rate", None)}.items():
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"{key}: {value} is not a number above 0")
    for item in dataclasses.fields(args):
        value = getattr(args, item.name)
        if item.type in (int, float) and item.default is not dataclasses.MISSING and isinstance(value, (int, float)):
            check_number(item.name, value, 0)
    if getattr(args, "lora_r", 0) and getattr(args, "fgm_epsilon", 0):
        raise InputError("fgm_epsilon: does nothing with lora_r, which freezes the word embeddings; use awp_epsilon")
    if getattr(args, "freeze_word_embeddings", False) and getattr(args, "fgm_epsilon", 0):
        raise InputError(
            "fgm_epsilon: needs the gradients of the word embeddings, which freeze_word_embeddings turns off"
        )
    if getattr(args, "fgm_epsilon", 0) and getattr(args, "awp_epsilon", 0):
        raise InputError("fgm_epsilon and awp_epsilon: only one attack at a time")
    check_sharding(training_args)
    check_trainer(args, training_args)
    check_folder(Path(training_args.output_dir or "runs"), "output_dir")


def check_predict_values(args: Any) -> None:
    """The same for a predict.py. Raises InputError."""
    if args.weights and len(args.weights) != len(args.run_dir):
        raise InputError(f"weights: {len(args.weights)} were given for {len(args.run_dir)} runs")
    for path in [
        args.test_file,
        *args.run_dir,
        *([args.sample_submission_file] if args.sample_submission_file else []),
    ]:
        if not os.path.exists(path):
            raise InputError(f"{path}: no such file or folder")
    if os.path.isdir(Path(args.submission_file)):  # an empty name is the current folder
        raise InputError(f"{args.submission_file}: is a folder, a file was expected (submission_file)")
    if os.path.realpath(args.submission_file) in map(
        os.path.realpath, (args.test_file, args.sample_submission_file or args.test_file)
    ):
        raise InputError(f"{args.submission_file}: would overwrite an input file; name another --submission_file")
    check_folder(Path(args.submission_file).parent, "submission_file")
    for suffix in (".logits.npz", ".metrics.json"):
        beside = Path(args.submission_file).with_suffix(suffix)
        if os.path.isdir(beside):
            raise InputError(f"{beside}: is a folder, and this file stands beside the submission")
        check_folder(
            beside.with_name(f".{beside.name}.{os.getpid()}.tmp"), "submission_file"
        )  # a name that is too long
    for key in ("max_predict_samples", "tokens_per_batch"):
        check_number(key, getattr(args, key, None), 1)
    check_number("torch_num_threads", args.torch_num_threads, 1, MAX_THREADS)
    for weight in args.weights or []:
        check_number("weights", weight, 0)
    if args.weights and not sum(args.weights) > 0:
        raise InputError("weights: all are 0, one above 0 was expected")


def check_sharding(training_args: Any) -> None:
    """Raise InputError where the weights would be shared out among processes: each predicts its own number of batches,
    and would wait for parts of the weights from one that has finished."""
    deepspeed = training_args.deepspeed or os.environ.get("ACCELERATE_USE_DEEPSPEED") == "true"
    if training_args.fsdp or os.environ.get("ACCELERATE_USE_FSDP") == "true" or deepspeed:
        name = "deepspeed" if deepspeed else "fsdp"
        raise InputError(
            f"{name}: is not supported, each process holds the whole model; use accelerate launch --multi_gpu, or "
            "lora_r"
        )


def check_trainer(args: Any, training_args: Any) -> None:
    """What the Trainer would find out only when the run folder is written. Raises InputError."""
    from transformers.integrations import get_available_reporting_integrations

    metric = training_args.metric_for_best_model
    if metric is not None and metric.removeprefix("eval_") not in ("loss", *WATCHED):
        raise InputError(f"metric_for_best_model: {metric!r} is not one of {', '.join(('loss', *WATCHED))}")
    if training_args.save_strategy == "best" and metric is None:
        raise InputError("save_strategy: best needs a metric_for_best_model")
    for key in ("prediction_loss_only", "batch_eval_metrics", "label_names"):
        if getattr(training_args, key):
            raise InputError(f"{key}: cannot be set, the collection measures by itself")
    if getattr(args, "early_stopping_patience", None):
        evaluates = training_args.eval_strategy.value, training_args.eval_steps
        saves = training_args.save_strategy.value, training_args.save_steps
        if evaluates[0] == "no":
            raise InputError("early_stopping_patience: needs evaluations, eval_strategy is no")
        if saves[0] not in ("best", evaluates[0]) or saves[0] == "steps" and saves[1] != evaluates[1]:
            raise InputError(
                "early_stopping_patience: each evaluation needs a checkpoint; give save_strategy and save_steps as "
                "for eval"
            )
    if not isinstance(training_args.lr_scheduler_kwargs, dict | None):
        raise InputError(f"lr_scheduler_kwargs: {training_args.lr_scheduler_kwargs!r} is not a mapping")
    check_optimizer(training_args)
    available = get_available_reporting_integrations()
    for name in training_args.report_to:
        if name not in available:
            raise InputError(
                f"report_to: {name} is unknown or not installed; installed are {', '.join(['none', *available])}"
            )


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


def check_number(name: str, value: float | None, least: float, most: float = math.inf) -> None:
    """Raise InputError where a number is given that is not finite and between least and most."""
    if value is not None and not (least <= value <= most and value < math.inf):
        wanted = f"between {least} and {most}" if most < math.inf else f"{least} or more"
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
