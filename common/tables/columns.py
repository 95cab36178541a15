"""Columns of a row as the text that a model reads, and as its label.

fill("{keyword}: {text}", {"keyword": "", "text": "Fire!"})     # "Fire!"
"""

import html
import math
import re
import string
import urllib.parse
from collections.abc import Mapping, Sequence

from common.console import InputError
from common.guards.cells import NUMBER, is_missing
from common.guards.spelling import nfc
from common.tables.nearest import nearest

MARKED = re.compile(r"<(\w+)>\s*(.*?)\s*</\1>", re.DOTALL)
PERCENT = re.compile("(?:%[0-9A-Fa-f]{2})+")


def fill(template: str, values: Mapping[str, str]) -> str:
    """A template with the columns of a row; a column that is empty is left out with what stands in front of it.

    So is what stands in front of the first column that is there, unless it is the template's first, too.
    """
    parts = []
    skipped = False
    for text, column, _, _ in string.Formatter().parse(template):
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
    try:
        fields = [field for field in string.Formatter().parse(template) if field[1] is not None]
    except ValueError as error:
        raise InputError(f"template {template!r:.80}: {error}, expected text with {{column}} in it") from error
    for _, column, form, conversion in fields:
        if form or conversion:
            raise InputError(f"template {template!r:.80}: {column!r} has a format, expected {{{column}}} alone")
    return [column for _, column, _, _ in fields]


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
    """A text without marks such as <e1>...</e1>, and name -> its first and last character there, from 0."""
    plain = ""
    spans = {}
    place = 0
    for mark in MARKED.finditer(text):
        plain += text[place : mark.start()]
        spans[mark[1]] = len(plain), len(plain) + len(mark[2]) - 1
        plain += mark[2]
        place = mark.end()
    return plain + text[place:], spans


def same_text(texts: Sequence[str]) -> str:
    """What rows share that read the same: case and white space aside."""
    return "\n".join(" ".join(text.casefold().split()) for text in texts)


def label_number(value: str | None, label_names: Sequence[str], where: str) -> int:
    """The number of a label; -1 where the file has none (None). Raises InputError, which begins with where."""
    if value is None:
        return -1
    name = nfc(value.strip())
    if name in label_names:
        return label_names.index(name)
    if not name:
        raise InputError(f"{where}: is empty, expected one of the {len(label_names)} labels")
    known = f"the {len(label_names)} labels of data.py{nearest(name, label_names)}"
    raise InputError(f"{where}: {value!r:.80} is not one of {known}")


def number_of(value: str | None, where: str) -> float:
    """A finite number; NaN where the file has none (None). Raises InputError, which begins with where."""
    if value is None:
        return math.nan
    if is_missing(value):
        raise InputError(f"{where}: is empty, expected a number")
    text = value.strip()
    if not NUMBER.fullmatch(text) or not math.isfinite(float(text)):
        raise InputError(f"{where}: {value!r:.80} is not a number")
    return float(text)


def listed(value: str, separator: str = ",") -> list[str]:
    """The names in a cell that holds several, `2,3,4` or `[2, 3, 4]` or `["a", "b"]`; an empty cell holds none."""
    text = value.strip()
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
        separator = ","
    parts = (part.strip().strip("'\"").strip() for part in (text.split(separator) if text else []))
    return [nfc(part) for part in parts if part]


def some_labels(value: str, where: str, separator: str = ",") -> list[str]:
    """listed(), of a cell that is not empty: `[]` says that there is no label. Raises InputError, which begins with
    where."""
    if not value.strip():
        raise InputError(f"{where}: is empty, expected labels, or [] where there are none")
    return listed(value, separator)
