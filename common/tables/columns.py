"""Columns of a row as the text that a model reads, and as its label.

fill("{keyword}: {text}", {"keyword": "", "text": "Fire!"})     # "Fire!"
"""

import ast
import html
import math
import re
import urllib.parse
from collections.abc import Mapping, Sequence

from common.console import InputError
from common.guards.cells import NUMBER, is_missing
from common.guards.spelling import nfc
from common.tables.nearest import nearest

YES, NO = ("1", "1.0", "true"), ("0", "0.0", "false")  # cells of a column that stands for one label, in any case
MARKED = re.compile(r"<(e[0-9])>\s*(\S.*?)\s*</\1>", re.DOTALL)  # of an entity that is not empty
PIECE = re.compile(r"(\{\{|\}\})|(\{[^{}]*\})|([^{}]+)|(.)")  # of a template
PERCENT = re.compile("(?:%[0-9A-Fa-f]{2})+")
# Lists as numpy writes them, without commas: ['a' 'b'], which Python would read as 'ab'; [1 2 3].
QUOTED = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
NUMPY_WORDS = re.compile(rf"\[\s*{QUOTED}(?:\s+{QUOTED})+\s*\]")
NUMPY_NUMBERS = re.compile(r"\[\s*[-+.0-9eE]+(?:\s+[-+.0-9eE]+)+\s*\]")


def fill(template: str, values: Mapping[str, str]) -> str:
    """A template with the columns of a row; a column that is empty is left out with what stands in front of it.

    So is what stands in front of the first column that is there, unless it is the template's first, too.
    """
    parts = []
    skipped = False
    for text, column in parts_of(template):
        if column is None:
            parts.append(text if parts else "")
        elif values[column].strip():
            parts.append(text if parts or not skipped else "")
            parts.append(values[column])
        else:
            skipped = True
    return "".join(parts)


def columns_of(template: str) -> list[str]:
    """The columns that a template names. Raises InputError for one that is no template."""
    return [column for _, column in parts_of(template) if column is not None]


def parts_of(template: str) -> list[tuple[str, str | None]]:
    """(text, the column behind it) in order, None where there is none; {{ is a brace. A column's name may hold what
    Python's format() would take for a format, as in `{title: sub}`. Raises InputError for a brace without its other."""
    parts = []
    text = ""
    for escaped, column, plain, single in PIECE.findall(template):
        if single:
            raise InputError(f"template {template!r:.80}: a single {single!r}, expected text with {{column}} in it")
        if column:
            parts.append((text, column[1:-1]))
            text = ""
        text += escaped[:1] + plain
    return [*parts, (text, None)]


def decode_html(text: str) -> str:
    """&amp; and &#39; as the characters that they stand for."""
    return html.unescape(text) if "&" in text else text


def decode_percent(text: str) -> str:
    """%20 and %C3%A9 as the characters that they stand for in UTF-8; what would be none stays."""

    def decode(match: re.Match) -> str:
        try:
            return urllib.parse.unquote_to_bytes(match[0]).decode()
        except UnicodeDecodeError:
            return match[0]

    return PERCENT.sub(decode, text)


def take_out_marks(text: str) -> tuple[str, dict[str, tuple[int, int]]]:
    """A text without the marks <e1>...</e1>, <e2>...</e2>, and name -> its first and last character there, from 0. What
    is marked once more is called `e1 again`; other tags, as HTML's, are text."""
    plain = ""
    spans = {}
    place = 0
    for mark in MARKED.finditer(text):
        plain += text[place : mark.start()]
        name = f"{mark[1]} again" if mark[1] in spans else mark[1]
        spans[name] = len(plain), len(plain) + len(mark[2]) - 1
        plain += mark[2]
        place = mark.end()
    return plain + text[place:], spans


def same_text(texts: Sequence[str]) -> str:
    """What rows share that read the same: case and white space aside."""
    return "\n".join(" ".join(text.casefold().split()) for text in texts)


def label_number(value: str | None, label_names: Sequence[str], where: str) -> int:
    """The number of a label; -1 where the file has none (None). Raises InputError, which begins with where.

    Labels that are numbers are told by their value: `1.0` is the label `1`.
    """
    if value is None:
        return -1
    name = nfc(value.strip())
    if name in label_names:
        return label_names.index(name)
    if NUMBER.fullmatch(name):
        alike = [i for i, n in enumerate(label_names) if NUMBER.fullmatch(n) and float(n) == float(name)]
        if len(alike) == 1:
            return alike[0]
    if not name:
        raise InputError(f"{where}: is empty, expected one of the {len(label_names)} labels")
    known = f"the {len(label_names)} labels of data.py{nearest(name, label_names)}"
    raise InputError(f"{where}: {value!r:.80} is not one of {known}")


def number_of(value: str | None, where: str, decimal: str = ".", thousands: str = "") -> float:
    """A finite number; NaN where the file has none (None). Raises InputError, which begins with where.

    decimal, thousands: the decimal mark, and what may stand between groups of three digits (none: nothing may).
    """
    if value is None:
        return math.nan
    if is_missing(value):
        raise InputError(f"{where}: is empty, expected a number")
    text = plain_number(value.strip(), decimal, thousands)
    if text is None or not math.isfinite(float(text)):
        raise InputError(f"{where}: {value!r:.80} is not a number")
    return float(text)


def plain_number(text: str, decimal: str = ".", thousands: str = "") -> str | None:
    """`1.234,5` as `1234.5`, with the marks that number_of() takes; None: it is no number that is written so."""
    whole, mark, rest = text.partition(decimal)
    if thousands and thousands in whole:
        if not re.fullmatch(rf"[+-]?[1-9][0-9]{{0,2}}(?:{re.escape(thousands)}[0-9]{{3}})+", whole):
            return None
        whole = whole.replace(thousands, "")
    if decimal != "." and "." in whole + rest:
        return None
    plain = f"{whole}.{rest}" if mark else whole
    return plain if NUMBER.fullmatch(plain) else None


def marked_labels(values: Mapping[str, str], label_names: Sequence[str], where: str) -> list[str] | None:
    """The labels whose columns hold 1 (1.0, true), not 0; None where the row has no such columns or all are empty.
    Raises InputError, which begins with where, for another cell."""
    cells = {name: values[name].strip().lower() for name in label_names if name in values}
    if not any(cells.values()):
        return None
    for name in label_names:
        if cells.get(name) not in (*YES, *NO):
            raise InputError(f"{where}, column {name}: {values.get(name, '')!r:.80}, expected 0 or 1")
    return [name for name in label_names if cells[name] in YES]


def marked_label(values: Mapping[str, str], label_names: Sequence[str], where: str) -> int:
    """The number of the one label whose column holds 1; -1 where marked_labels() finds no columns. Raises InputError,
    which begins with where, for none or several."""
    names = marked_labels(values, label_names, where)
    if names is None:
        return -1
    if len(names) != 1:
        raise InputError(f"{where}: {len(names)} of {', '.join(label_names):.200} are 1, expected one")
    return label_names.index(names[0])


def is_list(value: str) -> bool:
    """Whether a cell is a list in brackets, or a tuple or a set as Python writes them."""
    text = value.strip()
    if text.startswith("[") and text.endswith("]"):
        return True
    if text in ("set()", "()"):
        return True
    if (text[:1], text[-1:]) not in (("(", ")"), ("{", "}")):
        return False
    try:
        return isinstance(ast.literal_eval(text), (tuple, set))
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return False


def listed(value: str, separator: str = ",") -> list[str]:
    """The names in a cell that holds several, `2,3,4` or `[2, 3, 4]` or `["a", "b"]`, or as Python and numpy write
    them; an empty cell holds none."""
    text = value.strip()
    if is_list(text):
        if NUMPY_NUMBERS.fullmatch(text):
            return text[1:-1].split()
        if NUMPY_WORDS.fullmatch(text):
            text = f"[{','.join(re.findall(QUOTED, text))}]"
        text = text.removeprefix("set")[1:-1].strip()
        try:  # a name may hold a comma
            names = ast.literal_eval(f"[{text}]")
            if all(isinstance(name, str) for name in names):
                return [nfc(name.strip()) for name in names]
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            pass
        separator = ","
    parts = (part.strip().strip("'\"").strip() for part in (text.split(separator) if text else []))
    return [nfc(part) for part in parts if part]


def some_labels(value: str, where: str, separator: str = ",") -> list[str]:
    """listed(), of a cell that is not empty: `[]` says that there is no label. Raises InputError, which begins with
    where."""
    if not value.strip():
        raise InputError(f"{where}: is empty, expected labels, or [] where there are none")
    return listed(value, separator)
