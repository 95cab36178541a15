"""What a column of a table looks like, and what it is therefore taken for, with the reason in words."""

import re
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property

from common.guards.cells import NUMBER, is_missing
from common.tables import Table

LONG = 15  # characters; the median of a column of texts is at least that, or it has spaces
HTML = re.compile(r"&(?:[a-zA-Z]{2,8}|#[0-9]{1,6}|#x[0-9a-fA-F]{1,6});")
PERCENT = re.compile(r"%[0-9A-F]{2}")
HANGUL = re.compile("[가-힣]")
CODE = re.compile("[!-~]+")  # an address, a hash, a name of a file: nobody writes a long text without a space
LATIN = re.compile("[A-Za-zÀ-ɏ]")


@dataclass
class Column:
    """A column of the training file, and its texts (N,)."""

    name: str
    cells: list[str] = field(repr=False)

    @cached_property
    def values(self) -> list[str]:
        """The cells that are not empty."""
        return [cell for cell in self.cells if cell.strip()]

    @cached_property
    def counts(self) -> Counter:
        return Counter(self.values)

    @property
    def empty(self) -> float:
        """Share of the rows."""
        return 1 - len(self.values) / max(len(self.cells), 1)

    @cached_property
    def lengths(self) -> list[int]:
        """Characters of the values, ascending."""
        return sorted(map(len, self.values)) or [0]

    @property
    def median(self) -> int:
        return self.lengths[len(self.lengths) // 2]

    @property
    def is_unique(self) -> bool:
        return len(self.values) == len(self.cells) == len(self.counts)

    @property
    def is_numeric(self) -> bool:
        return all(NUMBER.fullmatch(value.strip()) for value in self.values)

    @property
    def is_text(self) -> bool:
        """Whether people wrote it: mostly different values, long or of several words, no codes and dates."""
        codes = sum(map(is_code, self.values))
        spaces = sum(" " in value.strip() for value in self.values)
        worded = self.median >= LONG or spaces > len(self.values) / 2
        return codes < len(self.values) / 2 and worded and len(self.counts) > len(self.values) / 3

    def share(self, pattern: re.Pattern) -> float:
        """Share of the values in which a pattern occurs."""
        return sum(bool(pattern.search(value)) for value in self.values) / max(len(self.values), 1)

    def describe(self) -> str:
        """Share of empty cells, different values, lengths."""
        empty = f"{self.empty:.1%} empty, " if self.empty else ""
        span = f"{self.lengths[0]} to {self.lengths[-1]} characters (median {self.median})"
        return f"{empty}{len(self.counts):,} different values, {span}"


def columns_of(table: Table) -> dict[str, Column]:
    """Name -> column, in order. Raises InputError as records() does."""
    next(table.records(), None)
    cells = list(zip(*(fields for _, fields in table.rows), strict=True)) or [[] for _ in table.header]
    return {name: Column(name, list(column)) for name, column in zip(table.header, cells, strict=True)}


def script_of(columns: list[Column]) -> str:
    """korean, english (any text in Latin letters) or other, by the letters of the first rows."""
    text = " ".join(value for column in columns for value in column.values[:500])
    hangul = len(HANGUL.findall(text))
    latin = len(LATIN.findall(text))
    others = sum(map(str.isalpha, text)) - hangul - latin
    return max((hangul * 3, "korean"), (latin, "english"), (others * 3, "other"))[1]


def is_code(value: str) -> bool:
    """Whether a cell is no text, but a code or mostly digits, as numbers and dates are."""
    shown = "".join(value.split())
    return bool(CODE.fullmatch(value.strip())) or 2 * sum(map(str.isdecimal, shown)) > len(shown)


def is_number(value: str) -> bool:
    return not is_missing(value) and bool(NUMBER.fullmatch(value.strip()))
