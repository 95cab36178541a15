"""Command line and YAML presets: dataclass default < preset < command line.

A script declares one dataclass that inherits from the groups of common/options/fields.py; transformers'
TrainingArguments ride along under their own names. Imports no torch, so that --help answers at once.
"""

import dataclasses
import difflib
import importlib.util
import os
import re
import sys
from argparse import ArgumentTypeError
from pathlib import Path
from typing import Any

from common.console import QUIET, ArgumentParser, InputError, print_once
from common.files import read_yaml
from common.guards.launcher import check_settings, launcher_settings, refuse_fsdp, refuse_unsupported, wants_cpu
from common.guards.options import FIELDS, check_options, refusal
from common.guards.precision import train_in_native_precision
from common.guards.tasks import check_task_folder, note_other_tasks
from common.metrics import task_metric
from common.options.checks import check_predict_values, check_values, task_target
from common.options.fields import START_FIELDS, DataArguments, StoppingArguments
from common.options.hf import load_argparser
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
TWIN = re.compile(r"(?<=\w)/--[\w-]+")  # /--run-dir of --run_dir/--run-dir

hf_argparser = load_argparser()
string_to_bool = hf_argparser.string_to_bool


class Parser(hf_argparser.HfArgumentParser):
    """transformers' parser whose complaints are InputErrors and which takes no abbreviated options."""

    def __init__(self, *dataclass_types: type, **kwargs: Any):
        super().__init__(dataclass_types, allow_abbrev=False, add_help=False, **kwargs)

    def error(self, message: str) -> None:
        raise InputError(f"command line: {TWIN.sub('', message)}")

    def parse(self, argv: list[str]) -> tuple:
        """The dataclasses from argv; an unknown option is an InputError that names the nearest known one."""
        for argument in argv:
            if not argument.isascii() and re.search("[\ud800-\udfff]", argument):  # bytes that Python could not decode
                raise InputError(
                    f"command line: {argument!a} is not UTF-8 text, so it cannot be written to config.yaml"
                )
        *parsed, rest = self.parse_args_into_dataclasses(argv, return_remaining_strings=True, look_for_args_file=False)
        if rest:
            known = [option for action in actions_of(self).values() for option in action.option_strings]
            raise InputError(f"command line: {rest[0]} is not an option{nearest(rest[0], known)}")
        return tuple(parsed)

    def set_preset(self, preset: dict[str, Any], source: Path) -> None:
        """Make the values of a YAML preset the defaults. Raises InputError for an unknown key or a value of another
        type."""
        actions = actions_of(self)
        for key, value in preset.items():
            if key not in actions:
                raise InputError(f"{source}, key {key}: is not a field{nearest(str(key), list(actions))}")
            if value is None and self.get_default(key) is not None:
                raise InputError(f"{source}, key {key}: is empty, expected a value as {self.get_default(key)!r}")
            self.set_defaults(**{key: coerce(value, actions[key], f"{source}, key {key}")})


def actions_of(parser: Parser) -> dict[str, Any]:
    """Field -> its action; of a switch and its --no_ twin the first. argparse has no public list of them."""
    return {action.dest: action for action in reversed(parser._actions)}


def coerce(value: Any, action: Any, where: str) -> Any:
    """A YAML value as the type of its option (YAML reads 2e-5 as a string, the option says that it is a number)."""
    if value is None or isinstance(value, dict) and action.dest.endswith(("_kwargs", "_config", "stages")):
        return value
    wanted = action.type
    is_boolean = wanted is string_to_bool
    expected = (
        f"one of {', '.join(map(str, action.choices))}"
        if action.choices
        else "a bool"
        if is_boolean
        else f"a {wanted.__name__}"
    )
    wrong = InputError(f"{where}: {value!r:.80} is not {expected}")
    if isinstance(value, list) and (action.nargs in ("+", "*") or isinstance(action.default, list)):
        items = [coerce(item, action, where) for item in value]
        return [item if isinstance(item, dict) else item[0] for item in items] if action.nargs in ("+", "*") else items
    if isinstance(value, (list, dict)) or isinstance(value, bool) and not is_boolean:
        raise wrong
    try:
        converted = value if isinstance(value, bool) else wanted(str(value))
    except (TypeError, ValueError, KeyError, ArgumentTypeError) as error:
        raise wrong from error
    if action.choices and converted not in action.choices:
        raise wrong
    return [converted] if action.nargs in ("+", "*") else converted


def coerce_to(dataclass_type: type, name: str, value: Any, where: str) -> Any:
    """A value as the type of a dataclass's field. Raises InputError that begins with `where`."""
    return coerce(value, actions_of(Parser(dataclass_type))[name], where)


def nearest(name: str, known: list[str]) -> str:
    """`; did you mean X?` for the known name most like `name`, or nothing; dashes in front are no likeness."""
    bare = {other.lstrip("-"): other for other in known}
    found = difflib.get_close_matches(name.split("=")[0].lstrip("-"), bare, n=1)
    return f"; did you mean {bare[found[0]]}?" if found else ""


def read_preset(path: Path, task_dir: Path | None = None) -> dict[str, Any]:
    """read_yaml(), with absolute paths for values that begin with ./: they are relative to the preset, wherever it
    lies. task_dir: of the presets that a name without its folder may mean.

    Raises InputError for a search's YAML, too.
    """
    beside = Path(path).resolve().parent
    if not Path(path).exists():
        names = [str(Path(path).with_name(other.name)) for other in beside.glob("*.yaml")]
        meant = nearest(str(path), names)
        of_task = task_dir / "configs" / f"{Path(path).stem}.yaml" if task_dir else None
        if of_task and of_task.exists() and not meant:
            meant = f"; did you mean {relative(of_task)}?"
        raise InputError(f"{path}: cannot be read (no such file or directory){meant}")
    preset = read_yaml(path)
    if "coupled" in preset:
        raise InputError(
            f"{path}: is a search, for python -m common.search; expected a preset of train.py, one of those that it "
            "names"
        )
    return {
        key: str(beside / value) if isinstance(value, str) and value.startswith("./") else value
        for key, value in preset.items()
    }


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
    if "train_file" in given:  # another training set: the preset's other files do not belong to it
        preset = {key: value for key, value in preset.items() if key not in task_arguments.DATA_FIELDS}
    elif "test_file" in given:
        preset.pop("sample_submission_file", None)
    parser.set_preset(preset, config)
    values = vars(parser.parse_known_args(argv)[0])
    QUIET[0] = values["quiet"]
    print_once(f"preset {config} ({why})")
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
            meant = nearest(name.replace("-", "_"), [f"--{field}" for field in fields])
            raise InputError(f"command line: --{name} is not an option{meant}")
    config = given_config(argv)
    for key in read_preset(Path(config), task_dir) if config else ():
        if key not in fields:
            raise InputError(f"{config}, key {key}: is not a field{nearest(str(key), fields)}")
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


def files_there(task_dir: Path, competition_files: dict[str, str], other_files: dict[str, str]) -> dict[str, str]:
    """competition_files, or the others where only their train_file is in <task_dir>/data/."""
    data = task_dir / "data"
    is_other = other_files and not (data / competition_files["train_file"]).exists()
    return other_files if is_other and (data / other_files["train_file"]).exists() else competition_files


def choose_preset(
    config: str | None, task_dir: Path, competition_files: dict[str, str], given: set[str]
) -> tuple[Path, str]:
    """The preset's path and why it was taken. given: the options on the command line."""
    if config is not None:
        return Path(config), "given with --config"
    data_file = task_dir / "data" / competition_files["train_file"]
    final, tune, demo = (relative(task_dir / "configs" / f"{name}.yaml") for name in ("final", "tune", "demo"))
    if data_file.exists():
        return final, f"{relative(data_file)} is there"
    if not demo.exists():
        return final, f"{demo} is not there"
    if "train_file" in given:
        return demo, f"made for a small model from scratch; for a pretrained one --config {tune} or {final}"
    return demo, f"no {relative(data_file)}: bundled sample, small model from scratch"


def resolve_preset(preset: dict[str, Any], base: Path, data_fields: tuple[str, ...]) -> dict[str, Any]:
    """Paths in a preset are relative to the task folder `base`, but for those of read_preset(); in a run's config.yaml
    all are absolute."""
    resolved = dict(preset)
    for key in (*data_fields, "output_dir", "model_name_or_path"):
        value = preset.get(key)
        if isinstance(value, str) and (key != "model_name_or_path" or is_folder(value, base)):
            resolved[key] = str(base / value)
    return resolved


def is_folder(model_name_or_path: str, base: Path = Path()) -> bool:
    """Whether the model is named by a folder; `scratch` never is, though one may be called so."""
    return model_name_or_path != "scratch" and os.path.isdir(base / model_name_or_path)


def find_data_files(args: Any, task_dir: Path, competition_files: dict[str, str]) -> None:
    """Fill in the competition's files from <task>/data/ where none were named, and make every path absolute."""
    if args.train_file is None:
        for key, name in competition_files.items():
            path = task_dir / "data" / name
            of_another_test = key == "sample_submission_file" and args.test_file not in (
                None,
                str(path.with_name(competition_files["test_file"])),
            )
            if getattr(args, key) is not None or of_another_test:
                continue
            if path.exists():
                setattr(args, key, str(path))
            elif key == "train_file":
                raise no_train_file(path, task_dir)
            else:
                print_once(f"no {relative(path)}: going on without {key}")
    for key in args.DATA_FIELDS:
        if (value := getattr(args, key)) is not None:
            check_there(value, key)
            path = Path(value)  # a link keeps its own name: it may be part of the ids
            path = path.resolve() if path.name in ("", "..") else path.parent.resolve() / path.name
            setattr(args, key, str(path))
    if hasattr(args, "model_name_or_path") and is_folder(args.model_name_or_path):
        args.model_name_or_path = str(Path(args.model_name_or_path).resolve())


def check_there(path: str | None, field: str) -> None:
    """Raise InputError where a file or folder that is named is not there."""
    if path is not None and not os.path.exists(path):  # Path.exists() raises for a name that is too long
        raise InputError(f"{path}: no such file or folder ({field})")


def no_train_file(path: Path, task_dir: Path) -> InputError:
    """What to put where, and what runs without."""
    from common.download.catalogue import SOURCES

    here = task_dir.name in SOURCES and relative(task_dir) == Path(task_dir.name)
    fetched = f"python -m common.download {task_dir.name}; " if here else ""
    demo = relative(task_dir / "configs" / "demo.yaml")
    sample = f", or run the bundled sample: python {relative(task_dir / 'train.py')} --config {demo}"
    return InputError(
        f"{relative(path)}: no such file; put the competition's files there ({fetched}see "
        f"{relative(task_dir / 'README.md')}) or name a --train_file{sample if demo.exists() else ''}"
    )


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


def relative(path: Path) -> Path:
    """`path` as the user would type it from the current folder."""
    return Path(os.path.relpath(path))


def load_data_module(task_dir: Path) -> Any:
    """<task_dir>/data.py, as its siblings import it; what it imports of them is found, too."""
    check_task_folder(task_dir)
    path = task_dir / "data.py"
    spec = importlib.util.spec_from_file_location("data", path)
    sys.modules["data"] = module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(task_dir))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(task_dir))
    return module


def arguments_of(data: Any) -> type:
    """The dataclass of train.py's own fields that a data.py declares. Raises InputError where it declares none."""
    arguments = getattr(data, "TaskArguments", None)
    if not (isinstance(arguments, type) and issubclass(arguments, DataArguments)):
        raise InputError(f"{data.__file__}: declares no TaskArguments that inherits DataArguments")
    return arguments
