"""What a shell completes where argcomplete is installed (docs/options.md): options, their choices, presets.

Imported only in a process that the shell has started for it, with _ARGCOMPLETE set; that process ends here.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

try:
    import argcomplete
except ImportError:  # the shell's is another environment's
    sys.exit()

ASKED: list[argparse.ArgumentParser] = []  # because argcomplete lets the parser parse, which asks for completion


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer the shell and end this process."""
    if parser not in ASKED:
        ASKED.append(parser)
        argcomplete.autocomplete(parser, exclude=[*twins(parser)])


def twins(parser: argparse.ArgumentParser) -> Iterator[str]:
    """The second names of options: --max-length of --max_length."""
    for action in parser._actions:
        yield from action.option_strings[1:]


def complete_train(task_arguments: type, task_dir: Path) -> None:
    """complete() of a train.py: its options, TrainingArguments' (by name, because these import torch), its presets."""
    from common.guards.options import FIELDS, refusal
    from common.options.parser import Parser, actions_of

    parser = Parser(task_arguments, prog="train.py")
    actions = actions_of(parser)
    for name in sorted(FIELDS - actions.keys()):
        if refusal(name, task_arguments.LOOP) is None:
            parser.add_argument(f"--{name}")
    parser.add_argument("--help", action="store_true")
    parser.add_argument("--help_all", action="store_true")
    actions["config"].completer = lambda prefix, **_: [*presets(task_dir), *yaml_files(prefix)]
    complete(parser)


def presets(task_dir: Path) -> Iterator[str]:
    """The presets of a task folder, as they are named from here."""
    from common.options.paths import relative

    for path in sorted((task_dir / "configs").glob("*.yaml")):
        if path.stem != "search":
            yield str(relative(path))


def yaml_files(prefix: str) -> list[str]:
    return argcomplete.FilesCompleter(("yaml", "yml"))(prefix)
