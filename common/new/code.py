"""The text of data.py: plain code for these columns, under 60 lines, which a person goes on with."""

import json
import re
from dataclasses import dataclass

from common.new.kinds import Target
from common.new.roles import Roles


@dataclass
class Plan:
    """All that is known of a new folder.

    files: option -> name in data/. header: of files without one. unquoted: a quote opens nothing. numbering: of rows
    without an id, from which number; None: the line. submission, answers: source, and what it imports. html, percent:
    whether texts have &amp; or %20.
    """

    name: str
    recipe: str
    files: dict[str, str]
    roles: Roles
    target: Target
    metric: str
    submission: str
    answers: list[str]
    header: list[str] | None = None
    unquoted: bool = False
    numbering: int | None = None
    html: bool = False
    percent: bool = False


HELP = {"html": "&amp; in a text becomes &", "percent": "%%20 in a text becomes a space"}
PIECE = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^",]|,(?! ))*(?:, |$)')  # of a line of Python, up to a comma
OPTIONS = {"html": "html_entities", "percent": "percent_escapes"}


def submission_import(plan: Plan) -> str:
    """The line that imports what SUBMISSION is made of."""
    form = [] if long_import(plan) else ["SubmissionFormat"]
    return f"from common.submission import {', '.join([*form, *sorted(plan.answers)])}"


def long_import(plan: Plan) -> list[str]:
    """The same of a submission of several rows an id."""
    return ["from common.tables.long_rows import LongFormat"] * plan.submission.startswith("LongFormat")


def data_py(plan: Plan) -> str:
    """Source of data.py of a copy of friends or nsmc."""
    options = {OPTIONS[key]: HELP[key] for key in OPTIONS if getattr(plan, key)}
    base = "ReviewArguments" if plan.recipe == "nsmc" else "TextTaskArguments"
    keys = [*([] if plan.recipe == "nsmc" else ["special_tokens"]), *options]
    values = {key: f"args.{key}" for key in options} | ({} if plan.recipe == "nsmc" else {"special_tokens": "[]"})
    pairs = ", ".join(f'"{key}": {value}' for key, value in values.items())
    lines = [
        f'"""{plan.name}: {in_words(plan.roles.text_columns)} -> {in_words(plan.target.columns):.60}',
        "",
        f"Written by common.new from the columns of {plan.files['train_file']}, to be edited. What train.py and",
        'predict.py want of it: docs/new_competition.md."""',
        "",
        f"from dataclasses import dataclass{', field' if options else ''}",
        "",
        f"from common.examples import TextExample, {'check_id, ' if plan.roles.id else ''}check_text",
        *([] if plan.recipe == "nsmc" else ["from common.options import TextTaskArguments"]),
        submission_import(plan),
        "from common.tables import read_table",
        f"from common.tables.columns import {', '.join(column_helpers(plan))}",
        *long_import(plan),
        *targets_import(plan.target),
        *(
            [
                "",
                "from reviews import TaskArguments as ReviewArguments",
                "from reviews import drop_duplicates  # noqa: F401",
            ]
        )
        * (plan.recipe == "nsmc"),
        "",
        *head(plan),
        f"SEGMENTS = {as_source(plan.roles.segments)}  # what the model reads; a column that is empty is left out",
        *([f"COLUMNS = {as_source(plan.header)}  # the files have no header"] if plan.header else []),
        f"PREPROCESSING = {as_source([*keys, 'max_length'], '()')}",
        "",
        "",
        "@dataclass",
        f"class TaskArguments({base}):",
        '    """Options of train.py; one of your own is a field here."""',
        *[line for key, text in options.items() for line in option(key, text)],
        "",
        "",
        "def make_preprocessing(args):",
        '    """What read_examples() is to do to a row; it travels with the weights."""',
        *wrapped(f"    return {{{pairs}}}"),
        "",
        "",
        *read_examples(plan),
    ]
    return "\n".join(lines) + "\n"


def head(plan: Plan) -> list[str]:
    """The names that are data and no code."""
    files = ", ".join(f"{as_source(option)}: {as_source(name)}" for option, name in plan.files.items())
    return [
        *wrapped(f"COMPETITION_FILES = {{{files}}}"),
        *wrapped(f"LABEL_NAMES = {target_source(plan.target)}"),
        f"METRIC = {as_source(plan.metric)}",
        f"SUBMISSION = {plan.submission}",
    ]


def option(key: str, text: str) -> list[str]:
    return [f'    {key}: bool = field(default=True, metadata={{"help": "{text}"}})']


def as_source(value: object, brackets: str = "[]") -> str:
    """A string or a list of strings in double quotes."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    inside = ", ".join(map(as_source, value))
    return f"{brackets[0]}{inside}{',' if brackets == '()' and len(value) == 1 else ''}{brackets[1]}"


def in_words(columns: list[str]) -> str:
    """Names of columns in a docstring: no line breaks and quotes, which a table's header may hold."""
    return re.sub(r'[\s"\\\\]+', " ", ", ".join(columns))


def target_source(target: Target) -> str:
    if target.kind == "number":
        return f"Number({as_source(target.names[0])})"
    kinds = {"several": "SeveralLabels({})", "ordered": "Ordered({})", "labels": "{}"}
    return kinds[target.kind].format(as_source(target.names))


def targets_import(target: Target) -> list[str]:
    names = {"several": "SeveralLabels", "ordered": "Ordered", "number": "Number"}
    return [f"from common.targets import {names[target.kind]}"] if target.kind in names else []


def wrapped(line: str, width: int = 118) -> list[str]:
    """A long list over several lines, broken behind commas, but not inside of a string."""
    lines = [""]
    for piece in PIECE.findall(line):
        if lines[-1] and len(lines[-1] + piece.rstrip()) > width:
            lines.append("    ")
        lines[-1] += piece
    return [part.rstrip() for part in lines]


def column_helpers(plan: Plan) -> list[str]:
    names = {"fill", "same_text", *target_helpers(plan.target)}
    names |= {"decode_html"} if plan.html else set()
    names |= {"decode_percent"} if plan.percent else set()
    return sorted(names)


def target_helpers(target: Target) -> list[str]:
    """What label_lines() calls."""
    if len(target.columns) > 1:
        return ["marked_label" if target.kind == "labels" else "marked_labels"]
    if target.kind == "several":
        return [list_helper(target)]
    return ["number_of" if target.kind == "number" else "label_number"]


def list_helper(target: Target) -> str:
    """An empty cell is no label where the training file has such cells and --kind says so; else it is refused."""
    return "listed" if target.may_be_empty else "some_labels"


def label_lines(target: Target) -> list[str]:
    """From values and where to label, inside of a loop. An empty cell of a target is as a missing column: train.py
    refuses it in rows to train on."""
    column = target.columns[0]
    cell = f"values.get({as_source(column)})"
    where = f"f{as_source(f'{{where}}, column {column}')}"
    if len(target.columns) > 1 and target.kind == "labels":
        return ["        label = marked_label(values, LABEL_NAMES, where)"]
    if len(target.columns) > 1:
        return [
            "        names = marked_labels(values, LABEL_NAMES, where)",
            "        label = LABEL_NAMES.unknown if names is None else LABEL_NAMES.encode(names, where)",
        ]
    if target.kind == "number":
        marks = f', decimal="{target.decimal}"' * (target.decimal != ".")
        marks += f", thousands={as_source(target.thousands)}" * (target.thousands != "")
        return [f"        label = number_of({cell} or None, {where}{marks})"]
    if target.kind != "several":
        return [f"        label = label_number({cell} or None, LABEL_NAMES, {where})"]
    stated = "" if target.may_be_empty else f", {where}"
    separator = "" if target.separator == "," else f", {as_source(target.separator)}"
    given = f"{as_source(column)} in values" if target.may_be_empty else cell
    return [
        "        label = LABEL_NAMES.unknown",
        f"        if {given}:",
        f"            names = {list_helper(target)}(values[{as_source(column)}]{stated}{separator})",
        f"            label = LABEL_NAMES.encode(names, {where})",
    ]


def loop_over_rows(plan: Plan) -> tuple[str, str]:
    """(Source of the for line over a table's rows, of a row's id in it). The columns of the target may be absent, and
    the id where the training file has none."""
    row_id, only_test = plan.roles.id, plan.roles.id_of_test
    needed = [*([row_id] if row_id else []), *plan.roles.text_columns]
    optional = [c for c in [*([only_test] if only_test else []), *plan.target.columns] if c not in needed]
    table = f"read_table(path{', COLUMNS' * bool(plan.header)}{', tab_quotes=False' * plan.unquoted})"
    records = f"{table}.records({as_source(needed)}, {as_source(optional)})"
    if row_id:
        return f"for row, values in {records}:", f"values[{as_source(row_id)}]"
    if plan.numbering is None:
        by_line = f"values.get({as_source(only_test)}, str(row))" if only_test else "str(row)"
        return f"for row, values in {records}:", by_line
    start = f", start={plan.numbering}" if plan.numbering else ""
    return f"for number, (row, values) in enumerate({records}{start}):", "str(number)"


def read_examples(plan: Plan) -> list[str]:
    """Source of read_examples()."""
    row_id = plan.roles.id
    loop, identity = loop_over_rows(plan)
    return [
        "def read_examples(path, preprocessing):",
        '    """One row a row of the table, in its order; rows that read the same are one group."""',
        "    examples = []",
        "    groups = {}  # what a row reads -> the id of the first that reads so",
        *(["    first_row = {}"] if row_id else []),
        *[f"    {part}" for part in wrapped(loop)],
        '        where = f"{path}, row {row}"',
        *([f"        check_id({identity}, {as_source(row_id)}, row, first_row, path)"] if row_id else []),
        "        segments = [fill(segment, values) for segment in SEGMENTS]",
        *(
            [
                '        if preprocessing["percent_escapes"]:',
                "            segments = [decode_percent(text) for text in segments]",
            ]
        )
        * plan.percent,
        *(
            [
                '        if preprocessing["html_entities"]:',
                "            segments = [decode_html(text) for text in segments]",
            ]
        )
        * plan.html,
        "        for text in segments:",
        "            check_text(text, where)",
        *label_lines(plan.target),
        f"        group = groups.setdefault(same_text(segments), {identity})",
        f"        examples.append(TextExample({identity}, segments, label, group))",
        "    return examples",
    ]
