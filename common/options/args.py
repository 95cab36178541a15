"""Command line and YAML presets: dataclass default < preset < command line.

A script declares one dataclass that inherits from the groups of common/options/fields.py; transformers'
TrainingArguments ride along under their own names. Imports no torch, so that --help answers at once.
"""

import dataclasses
import importlib.util
import os
import re
import sys
from pathlib import Path
from typing import Any

from common.console import QUIET, ArgumentParser, InputError, print_once
from common.guards.launcher import check_settings, launcher_settings, refuse_fsdp, refuse_unsupported, wants_cpu
from common.guards.options import FIELDS, check_options, refusal
from common.guards.precision import train_in_native_precision
from common.guards.tasks import note_other_tasks, note_repeated
from common.metrics import task_metric
from common.options.checks import check_predict_values, check_values, task_target
from common.options.fields import START_FIELDS, StoppingArguments
from common.options.parser import Parser, actions_of, did_you_mean
from common.options.paths import check_there, find_data_files
from common.options.presets import choose_preset, files_of_others, files_there, read_preset, resolve_preset
from common.targets import Classes
from common.targets.registry import METRICS

# Where the collection's defaults differ from transformers': everything that resuming and the report need.
TRAINING_DEFAULTS = {
    "eval_strategy": "epoch",
    "save_strategy": "epoch",
    "logging_strategy": "epoch",
    "save_total_limit": 2,  # a kill while the newest checkpoint is written leaves the one before it
    "restore_callback_states_from_checkpoint": True,
    "per_device_eval_batch_size": 64,
    "report_to": ["none"],
}

HELP = ("-h", "--help", "--help_all")


def parse_train_args(
    task_arguments: type,
    task_dir: Path,
    competition_files: dict[str, str],
    doc: str,
    argv: list[str] | None = None,
    best_metric: str = "accuracy",
) -> tuple:
    """(task arguments, TrainingArguments) of a train.py.

    task_arguments: dataclass that inherits DataArguments. competition_files: field -> name in <task_dir>/data/;
    train_file is the one that must be there. best_metric: what early stopping watches by default. Prints which preset
    was chosen and why, and which optional files are absent. Exits after --help and --help_all.
    """
    argv = sys.argv[1:] if argv is None else argv
    if "_ARGCOMPLETE" in os.environ:
        from common.options.completion import complete_train

        complete_train(task_arguments, task_dir)
    if {*HELP} & set(argv):
        from common.options.help import show_train_help

        show_train_help(task_arguments, task_dir, competition_files, doc, argv)
        sys.exit()

    check_names(task_arguments, task_dir, argv)

    import torch
    from transformers import TrainingArguments

    parser = Parser(task_arguments, TrainingArguments, prog="train.py")
    parser.set_defaults(**TRAINING_DEFAULTS, use_cpu=not torch.accelerator.is_available())

    defaults = {name: parser.get_default(name) for name in actions_of(parser)}
    launched = launcher_settings()
    parser.set_defaults(**launched)
    config, given = parse_given(argv, parser)
    competition_files = files_there(task_dir, competition_files, task_arguments.OTHER_FILES)
    config, why = choose_preset(config, task_dir, competition_files, given)
    preset = resolve_preset(read_preset(config), task_dir, task_arguments.DATA_FIELDS)
    if config.name == "config.yaml":  # of a run: what its loop does not read, TrainingArguments has put there
        unread = {key for key in FIELDS & preset.keys() if refusal(key, task_arguments.LOOP)}
        preset = {key: value for key, value in preset.items() if key not in unread}
    left = files_of_others(preset, given, task_arguments.DATA_FIELDS)
    preset = {key: value for key, value in preset.items() if key not in left}
    parser.set_preset(preset, config)
    values = vars(parser.parse_known_args(argv)[0])
    QUIET[0] = values["quiet"]
    print_once(f"preset {config} ({why})")
    if left:
        print_once(
            f"{left[0]} is given: going on without the preset's {', '.join(left[1:])}, which may go with another file"
        )
    check_options(values, defaults, given, set(preset), task_arguments.LOOP)
    check_settings(launched, values, given | set(preset))
    try:
        args, training_args = parser.parse(argv)
    except (ValueError, TypeError, ImportError, OSError) as error:  # TrainingArguments' own checks
        raise InputError(f"training arguments: {' '.join(str(error).split())}") from error
    if "output_dir" not in given and preset.get("output_dir") is None:
        training_args.output_dir = None  # transformers puts "trainer_output" there
    steer(args, training_args, best_metric, given | set(preset))
    find_data_files(args, task_dir, competition_files)
    check_values(args, training_args)
    train_in_native_precision(training_args)
    if training_args.torch_compile:
        from common.tricks.compiled import set_shapes

        set_shapes(args.LOOP, training_args)
    args.config = str(config)
    set_threads(args.torch_num_threads, training_args.use_cpu)
    return args, training_args


def steer(args: Any, training_args: Any, best_metric: str, given: set[str]) -> None:
    """Early stopping and the best checkpoint go by the metric of args, else by best_metric (of classes; other targets
    have their own). given: the options that were; transformers takes every metric but a loss for better the higher."""
    target = task_target(args)
    metric = task_metric(args, target)
    patience = isinstance(args, StoppingArguments) and args.early_stopping_patience
    if patience:
        training_args.load_best_model_at_end = True
    best = training_args.load_best_model_at_end or training_args.save_strategy == "best"
    if metric and best and "metric_for_best_model" not in given:
        training_args.metric_for_best_model = metric.name
    elif patience and training_args.metric_for_best_model is None:
        of_target = best_metric if target.kind == Classes.kind else target.metric
        training_args.metric_for_best_model = "loss" if best_metric == "loss" else of_target
    if (name := training_args.metric_for_best_model) and "greater_is_better" not in given:
        known = metric if metric and metric.name == name else METRICS.get(name.removeprefix("eval_"))
        training_args.greater_is_better = known.greater_is_better if known else not name.endswith("loss")


def metric_name(args: Any) -> str | None:
    """The metric that is to be good, also where data.py names it; None: what the target has."""
    metric = task_metric(args, task_target(args))
    return metric.name if metric else None


def parse_predict_args(predict_arguments: type, task_dir: Path, doc: str, argv: list[str] | None = None) -> Any:
    """The arguments of a predict.py. Exits after --help and --help_all, which is the same here."""
    argv = sys.argv[1:] if argv is None else argv
    parser = Parser(predict_arguments, prog="predict.py")
    if "_ARGCOMPLETE" in os.environ:
        from common.options.completion import complete

        complete(parser)
    if {*HELP} & set(argv):
        from common.options.help import show_help

        show_help(parser, doc, task_dir)
        sys.exit()
    (args,) = parser.parse(argv)
    QUIET[0] = args.quiet
    refuse_unsupported()
    refuse_fsdp("predict.py")
    check_predict_values(args)
    note_other_tasks(args.run_dir, task_dir)
    note_repeated(args.run_dir)

    import torch

    set_threads(args.torch_num_threads, wants_cpu() or not torch.accelerator.is_available())
    return args


def check_names(task_arguments: type, task_dir: Path, argv: list[str]) -> None:
    """Before the seconds that importing torch takes: raises InputError for an option, a preset or a key of it that
    there is not, with the nearest name, and for a file that is not there."""
    fields = [*trainer_fields(), *(field.name for field in dataclasses.fields(task_arguments))]
    known = {*fields, *(f"no_{name}" for name in fields), "config"}
    for word in argv:
        name = word.partition("=")[0].removeprefix("--")
        if word.startswith("--") and name and name.replace("-", "_") not in known:
            meant = did_you_mean(name.replace("-", "_"), [f"--{field}" for field in fields])
            raise InputError(f"command line: --{name} is not an option{meant}")
    config = given_config(argv)
    for key in read_preset(Path(config), task_dir) if config else ():
        if key not in fields:
            raise InputError(f"{config}, key {key}: is not a field{did_you_mean(str(key), fields)}")
    paths = ArgumentParser("train.py", "")
    for name in task_arguments.DATA_FIELDS:
        paths.add_argument(f"--{name}")
    for name, value in vars(paths.parse_known_args(argv)[0]).items():
        check_there(value, name)


def trainer_fields() -> set[str]:
    """Names of the fields of the TrainingArguments that are installed, from their file's text: FIELDS, and what a newer
    transformers has."""
    package = importlib.util.find_spec("transformers").submodule_search_locations[0]
    text = (Path(package) / "training_args.py").read_text(encoding="utf-8")
    return FIELDS | set(re.findall(r"^    (\w+): ", text, re.MULTILINE))


def given_config(argv: list[str]) -> str | None:
    """--config of the command line."""
    first = ArgumentParser("train.py", "")
    first.add_argument("--config")
    return first.parse_known_args(argv)[0].config


def parse_given(argv: list[str], parser: Parser) -> tuple[str | None, set[str]]:
    """--config and the names of the options on the command line."""
    words = {word.partition("=")[0] for word in argv}
    given = {name for name, action in actions_of(parser).items() if words & {*action.option_strings}}
    return given_config(argv), given


def resolved_config(args: Any, training_args: Any) -> dict[str, Any]:
    """What config.yaml holds: all task fields, and the TrainingArguments that are not at transformers' default or that
    have one of ours."""
    values = {k: v for k, v in dataclasses.asdict(args).items() if k not in START_FIELDS}
    for item in dataclasses.fields(training_args):
        value = getattr(training_args, item.name)
        value = getattr(value, "value", value)  # enumerations by their value
        default = item.default if item.default_factory is dataclasses.MISSING else item.default_factory()
        if not item.init or item.name in (
            *START_FIELDS,
            "hub_token",
            "local_rank",
            "use_cpu",
            "run_name",
            "logging_dir",
        ):
            continue
        if (value != default or item.name in TRAINING_DEFAULTS) and isinstance(
            value, (str, int, float, bool, list, dict)
        ):
            values[item.name] = value
    return values


def set_threads(num_threads: int | None, use_cpu: bool) -> None:
    """accelerate launch and torchrun set OMP_NUM_THREADS=1; on a CPU that leaves the other cores idle. Torch's own
    number is set, too: then MKL takes no fewer threads for small matrices, now and after a change of the number, and
    the bits are those of --torch_num_threads."""
    import torch

    launched = "ACCELERATE_MIXED_PRECISION" in os.environ or "TORCHELASTIC_RUN_ID" in os.environ
    if num_threads is None and use_cpu and launched and os.environ.get("OMP_NUM_THREADS") == "1":
        num_threads = max(1, os.cpu_count() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    torch.set_num_threads(num_threads or torch.get_num_threads())
