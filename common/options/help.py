"""What --help prints of a script: its docstring, how it is called, and its options in groups with their defaults.

A group is what one dataclass declares, under its GROUP; what the preset sets is shown beside the default. Imported only
where help is asked for.
"""

import dataclasses
import inspect
from argparse import Action, HelpFormatter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.console import InputError
from common.guards.terminal import LANG_HELP
from common.options.args import HELP, TRAINING_DEFAULTS, parse_given
from common.options.parser import Parser, actions_of
from common.options.paths import relative
from common.options.presets import choose_preset, read_preset

METAVARS = {int: "N", float: "X", str: "TEXT"}
PATHS = ("_file", "_dir", "_run", "_weights", "config", "teacher")  # how the names of options end that name paths
LONGEST_VALUE = 40  # characters of a default
ALONE = "of this folder alone"  # of a class without GROUP


def show_help(
    parser: Parser, doc: str, task_dir: Path, preset: Mapping[str, Any] | None = None, name: str = ""
) -> None:
    """Print a script's docstring, its {task} as the user would type it, the usage, and the options in groups.

    preset: the values of a preset, some of which may be no options of this parser. name: the preset's.
    """
    print(doc.strip().replace("{task}", str(relative(task_dir))) + "\n")
    print(options_text(parser, relative(task_dir / parser.prog), preset or {}, name))
    print(f"\n{LANG_HELP}")


def options_text(parser: Parser, script: Path, preset: Mapping[str, Any], name: str) -> str:
    formatter = HelpFormatter(prog=str(script), max_help_position=34)
    actions = dict(reversed(actions_of(parser).items()))  # as they were added
    needed = [usage_of(action) for action in actions.values() if action.required or not action.option_strings]
    formatter.add_usage(" ".join(["python %(prog)s", *needed, "[--option VALUE ...]"]), [], [])
    for title, names in groups_of(parser).items():
        formatter.start_section(title)
        for action in (actions[name] for name in names):
            action.help = f"{action.help or ''}{defaults_text(action, preset, name)}"
            action.metavar = metavar_of(action)
            action.option_strings = action.option_strings[:1]  # without --max-length, the twin of --max_length
            formatter.add_argument(action)
        formatter.end_section()
    if others := [f"{key} {short(value)}" for key, value in preset.items() if key not in actions]:
        formatter.start_section(f"fields of transformers.TrainingArguments that {name} sets")
        formatter.add_text(", ".join(others))
        formatter.end_section()
    return formatter.format_help().rstrip()


def groups_of(parser: Parser) -> dict[str, list[str]]:
    """Title -> options, in the order of the classes that declare them; positional arguments first."""
    actions = actions_of(parser)
    groups = {"arguments": [key for key, action in actions.items() if not action.option_strings][::-1]}
    for kind in parser.dataclass_types:
        library = kind.__module__.partition(".")[0] == "transformers"
        other = f"transformers.{kind.__name__}" if library else ALONE
        for item in dataclasses.fields(kind):
            if item.name in actions:
                owner = next(base for base in reversed(kind.__mro__) if item.name in inspect.get_annotations(base))
                groups.setdefault(vars(owner).get("GROUP", other), []).append(item.name)
    return {title: names for title, names in groups.items() if names}


def metavar_of(action: Action) -> str | None:
    """What stands for a value; None: its choices."""
    if not action.option_strings:
        return action.dest.upper()
    if action.choices:
        return None
    if action.nargs == "?":
        return "true|false"
    return "PATH" if action.dest.endswith(PATHS) and action.type is str else METAVARS.get(action.type, "VALUE")


def usage_of(action: Action) -> str:
    value = metavar_of(action) or f"{{{','.join(map(str, action.choices))}}}"
    several = f"{value} [{value} ...]" if action.nargs == "+" else value
    return " ".join([*action.option_strings[:1], several])


def defaults_text(action: Action, preset: Mapping[str, Any], name: str) -> str:
    """` (demo: auto, default: 64)`; what is None is left out."""
    value = preset.get(action.dest)
    said = [] if value is None or str(value) == str(action.default) else [f"{name}: {short(value)}"]
    said += [] if action.default is None or action.required else [f"default: {short(action.default)}"]
    return f" ({', '.join(said)})".replace("%", "%%") if said else ""


def short(value: Any) -> str:
    """A value on one line, cut where it is long."""
    text = " ".join(str(value).lower().split() if isinstance(value, bool) else str(value).split())
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"


def show_train_help(
    task_arguments: type, task_dir: Path, competition_files: dict[str, str], doc: str, argv: list[str]
) -> None:
    """show_help() of a train.py, with the values of the preset that argv would take; with --help_all those of
    TrainingArguments, too. That the preset cannot be read is said in its place."""
    parser = Parser(task_arguments, prog="train.py")
    if "--help_all" in argv:
        from transformers import TrainingArguments

        parser = Parser(task_arguments, TrainingArguments, prog="train.py")
        parser.set_defaults(**TRAINING_DEFAULTS)
    config, given = parse_given([word for word in argv if word not in HELP], parser)
    config, why = choose_preset(config, task_dir, competition_files, given)
    try:
        preset = read_preset(config, task_dir)
        said = f"preset {config} ({why})"
    except InputError as error:
        preset = {}
        said = f"no preset: {error}"
    show_help(parser, doc, task_dir, preset, config.stem)
    print(f"\n{said}")
    if "--help_all" not in argv:
        print("Every field of transformers.TrainingArguments (learning_rate, bf16, ...) is an option, too: --help_all")
