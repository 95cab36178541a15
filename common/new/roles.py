"""Which column is what: the id, the texts, the target; each with the reason in words.

What the command line names is taken; the rest is told by the files: the test file has no target, an id repeats nowhere,
a text is long and hardly repeats.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from common.console import InputError
from common.guards.spelling import nfc
from common.new.looks import Column
from common.tables import Table, nearest
from common.tables.columns import columns_of as template_columns

ID_NAMES = ("id", "idx", "index", "guid", "row_id", "textid", "text_id", "qid", "uid")
MARKS = {"0", "1", "0.0", "1.0", "True", "False", "true", "false"}
TARGET_NAMES = ("target", "label", "labels", "class", "category", "sentiment", "emotion", "score", "rating", "relation")
TARGET_NAMES += ("라벨", "레이블", "정답", "분류", "감정", "평점", "점수")


@dataclass
class Roles:
    """id: None: rows are numbered; id_of_test: the column of the test file's ids, where the training file has none.
    segments: templates, one a segment. targets: one column or several. why: column -> what it is, and the reason."""

    id: str | None
    segments: list[str]
    targets: list[str]
    why: dict[str, str]
    id_of_test: str | None = None

    @property
    def text_columns(self) -> list[str]:
        return list(dict.fromkeys(c for segment in self.segments for c in template_columns(segment)))


def check_column(name: str, table: Table, option: str) -> str:
    """The name, if the table has it. Raises InputError with the nearest that it has."""
    if name not in table.header:
        found = f"columns are {','.join(table.header):.200}"
        headless = "; a file without a header line wants --columns"
        raise InputError(
            f"{table.path}, row 1: no column {name!r}{nearest(name, table.header)} ({option}); {found}{headless}"
        )
    return name


def find_column(name: str, table: Table, option: str) -> str:
    """check_column() of a name on the command line, as the table has it with spaces around it (`id, text`)."""
    alike = [other for other in table.header if other.strip() == name.strip()]
    return alike[0] if len(alike) == 1 else check_column(name.strip(), table, option)


def find_roles(
    tables: dict[str, Table],
    columns: dict[str, Column],
    text: Sequence[str] | None,
    target: str | None,
    row_id: str | None,
) -> Roles:
    """tables: train, and test and sample where they are there; columns: those of train. Raises InputError."""
    train = tables["train"]
    why: dict[str, str] = {}
    targets = find_targets(tables, columns, target, why)
    by_sample = id_of_sample(tables, columns) if row_id is None else None
    of_test = by_sample or (row_id if "test" in tables and row_id in tables["test"].header else None)
    of_test = None if of_test in train.header else of_test
    found_id = None if of_test else find_id(tables, columns, row_id or by_sample, targets, why, bool(by_sample))
    segments = find_segments(tables, columns, text, [*targets, found_id], why)
    roles = Roles(found_id, segments, targets, why, of_test)
    for name in (*targets, found_id, of_test):
        refuse_braces(name or "", train)
    for name in train.header:
        why.setdefault(name, "not used; --text takes it in")
    for name in roles.text_columns:
        if name in targets:
            raise InputError(f"--text: {name!r} is the target, a model that reads it learns nothing")
        for part in ("eval", "test"):
            if part in tables:
                check_column(name, tables[part], "--text")
    return roles


def refuse_braces(name: str, table: Table) -> None:
    """Raise InputError for a column that the templates and formats of data.py could not name."""
    if {"{", "}"} & {*name}:
        raise InputError(f"{table.path}, row 1: column {name!r:.80} has a brace in its name; rename it in the files")


def find_targets(tables: dict[str, Table], columns: dict[str, Column], target: str | None, why: dict) -> list[str]:
    train = tables["train"]
    if target is not None:
        names = [find_column(name, train, "--target") for name in target.split(",")]
        why.update(dict.fromkeys(names, "target: --target names it"))
        return names
    asked = (tables["sample"].header[1:] or tables["sample"].header) if "sample" in tables else []
    if asked and all(name in columns for name in asked):
        why.update(dict.fromkeys(asked, "target: the sample submission asks for it"))
        return asked
    if "test" in tables:
        missing = [name for name in train.header if name not in tables["test"].header]
        of_labels = len(missing) > 1 and all({*columns[name].counts} <= MARKS for name in missing)
        if len(missing) == 1 or of_labels:
            why.update(dict.fromkeys(missing, "target: the test file does not have it"))
            return missing
    for name in train.header:
        if name.strip().lower() in TARGET_NAMES:
            why[name] = "target: by its name"
            return [name]
    which = f"which of {','.join(train.header):.200} is the target?"
    raise InputError(f"{train.path}: {which} Name it with --target; a file without a header line wants --columns")


def id_of_sample(tables: dict[str, Table], columns: dict[str, Column]) -> str | None:
    """The column of the test file whose values are the sample's ids: the one that is called as there, or whatever its
    name. Raises InputError where two have them in another order."""
    if "sample" not in tables or "test" not in tables or len(tables["sample"].header) < 2:
        return None
    sample, test = tables["sample"], tables["test"]
    wanted = {nfc(fields[0]) for _, fields in sample.rows}
    found = {}
    for number, name in enumerate(test.header):
        ids = [nfc(fields[number]) for _, fields in test.rows]
        if len(ids) == len(wanted) and set(ids) == wanted:
            found[name] = ids
    name = sample.header[0] if sample.header[0] in found else next(iter(found), None)
    if name is None:
        return None
    if name != sample.header[0] and (others := [other for other, ids in found.items() if ids != found[name]]):
        what = f"columns {name!r:.80} and {others[0]!r:.80} both have the ids of {sample.path}, in other rows"
        raise InputError(f"{test.path}: {what}; name the right one with --id")
    counted = found[name] in [[str(k) for k in range(start, len(wanted) + start)] for start in (0, 1)]
    # a training file whose ids repeat can do without where the rows' numbers are the test file's ids
    return None if counted and name in columns and not columns[name].is_unique else name


def find_id(
    tables: dict[str, Table],
    columns: dict[str, Column],
    row_id: str | None,
    targets: list[str],
    why: dict,
    by_sample: bool = False,
) -> str | None:
    """by_sample: row_id is the column of id_of_sample(), and not said by --id."""
    if row_id is not None:
        row_id = find_column(row_id, tables["train"], "--id")
        column = columns[row_id]
        if not column.is_unique:
            value, count = worst_value(column)
            rows = [row for (row, _), cell in zip(tables["train"].rows, column.cells, strict=True) if cell == value]
            what = f"{value!r:.80} is repeated, expected in row {rows[0]} only" if count > 1 else "is empty"
            said = "the sample submission's ids are of this column" if by_sample else "--id"
            raise InputError(f"{tables['train'].path}, row {rows[count > 1]}, column {row_id}: {what} ({said})")
        begins = by_sample and tables["sample"].header[0] == row_id
        named = "the sample submission begins with it" if begins else "the sample submission has its values"
        why[row_id] = f"id: {named if by_sample else '--id names it'}"
        return row_id
    wanted = [tables["sample"].header[0]] if "sample" in tables and len(tables["sample"].header) > 1 else []
    names = [*wanted, *(name for name in columns if name.strip().lower() in ID_NAMES)]
    for name in dict.fromkeys(names):
        if name not in columns or name in targets:
            continue
        others = [part for part in ("test", "eval") if part in tables and name not in tables[part].header]
        if others:
            why[name] = f"not the id: the {others[0]} file does not have it"
        elif not columns[name].is_unique:
            why[name] = "not the id: values repeat or are empty; rows are numbered"
        else:
            reason = "the sample submission begins with it" if name in wanted else "by its name"
            why[name] = f"id: {reason}, and no value repeats"
            return name
    return None


def worst_value(column: Column) -> tuple[str, int]:
    """The most frequent value of a column that is not unique, or its empty one."""
    if column.empty:
        return next(cell for cell in column.cells if not cell.strip()), 0
    return column.counts.most_common(1)[0]


def find_segments(
    tables: dict[str, Table], columns: dict[str, Column], text: Sequence[str] | None, taken: list, why: dict
) -> list[str]:
    """Templates: as given; else of the columns named in --text, or that are texts."""
    train = tables["train"]
    if text and (len(text) > 1 or "{" in text[0]):
        segments = [part if "{" in part else f"{{{part.strip()}}}" for part in text]
        for segment in segments:
            names = [check_column(name, train, "--text") for name in template_columns(segment)]
            if not names:
                raise InputError(f"--text: {segment!r:.80} names no column, expected {{column}} in it")
            why.update({name: f"text: --text has it in {segment!r:.80}" for name in names})
        return segments
    if text:
        names = [find_column(name, train, "--text") for name in text[0].split(",")]
        reason = "--text names it"
    else:
        shared = [name for name in columns if all(name in tables[p].header for p in ("test", "eval") if p in tables)]
        names = [name for name in shared if name not in taken and columns[name].is_text]
        reason = "it reads like text"
    if not names:
        raise InputError(f"{train.path}: none of {','.join(train.header):.200} reads like text; name it with --text")
    return join_columns([columns[name] for name in names], train, reason, why)


def join_columns(columns: list[Column], table: Table, reason: str, why: dict[str, str]) -> list[str]:
    """Short columns stand before the next long one, "{keyword}: {text}"; each long one is a segment."""
    longest = max(column.median for column in columns)
    segments = []
    before = ""
    for column in columns:
        is_short = column.median < longest / 3
        refuse_braces(column.name, table)
        before += f"{{{column.name}}}"
        if is_short and column is not columns[-1]:
            before += ": "
            why[column.name] = f"text in front of another: {reason}, and it is short"
            continue
        if is_short and segments:  # the last column is short, too
            segments[-1] += f" {before}"
            why[column.name] = f"text behind another: {reason}, and it is short"
        else:
            segments.append(before)
            why[column.name] = f"text, segment {len(segments)}: {reason}"
        before = ""
    return segments
