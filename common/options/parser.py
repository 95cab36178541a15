"""transformers' parser, whose complaints are sentences; a YAML's values get the types that the command line's have."""

import difflib
import re
from argparse import ArgumentTypeError
from pathlib import Path
from typing import Any

from common.console import InputError
from common.options.hf import load_argparser

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
            raise InputError(f"command line: {rest[0]} is not an option{did_you_mean(rest[0], known)}")
        return tuple(parsed)

    def set_preset(self, preset: dict[str, Any], source: Path) -> None:
        """Make the values of a YAML preset the defaults. Raises InputError for an unknown key or a value of another
        type."""
        actions = actions_of(self)
        for key, value in preset.items():
            if key not in actions:
                raise InputError(f"{source}, key {key}: is not a field{did_you_mean(str(key), list(actions))}")
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


def did_you_mean(name: str, known: list[str]) -> str:
    """`; did you mean X?` for the known name most like `name`, or nothing; dashes in front are no likeness."""
    bare = {other.lstrip("-"): other for other in known}
    found = difflib.get_close_matches(name.split("=")[0].lstrip("-"), bare, n=1)
    return f"; did you mean {bare[found[0]]}?" if found else ""
