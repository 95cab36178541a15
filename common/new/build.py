"""From the files of a contest to a folder: look, decide, write."""

import argparse
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common.console import InputError
from common.files import atomic_write
from common.files import read_table as read_csv
from common.guards.samples import label_rows
from common.guards.spelling import nfc
from common.new.answers import find_submission, order_of_sample
from common.new.code import Plan, data_py
from common.new.kinds import Target, find_target
from common.new.looks import HTML, PERCENT, Column, columns_of, script_of
from common.new.presets import text_presets
from common.new.readme import check_command, readme
from common.new.roles import find_roles
from common.new.sample import long_sample, make_rows, sample_submission, write_table
from common.submission import check_ids
from common.tables import Table, nearest, read_table
from common.tables.columns import fill, label_number, listed, number_of, same_text

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("friends", "nsmc", "klue_re", "reon_face", "hand_signal")
ROWS = ("train", "eval", "test")
OPTIONS = {"train": "train_file", "eval": "eval_file", "test": "test_file", "sample": "sample_submission_file"}
LEFT_BEHIND = shutil.ignore_patterns(
    "data", "sample", "configs", "README.md", "__pycache__", "node_modules", "label_type.json"
)
OLD_DATA = {
    "nsmc": "reviews.py",
    "klue_re": "relations.py",
    "reon_face": "faces_data.py",
    "hand_signal": "clips_data.py",
}


def build(args: argparse.Namespace) -> Iterator[str]:
    """Make the folder; yields what there is to say. Raises InputError before anything is written."""
    recipe = find_recipe(args.recipe)
    folder = Path(args.name)
    if folder.exists() or folder.is_symlink():
        raise InputError(f"{folder}: exists, expected the name of a folder to make")
    if not folder.name.isidentifier():
        raise InputError(f"{folder.name!r:.80}: expected letters, digits and _, since Python imports from the folder")
    if recipe.name in ("reon_face", "hand_signal"):
        from common.new.media import build_media

        yield from build_media(args, recipe, folder)
        return
    for option in ("images", "clips", "labels", "path"):
        if vars(args)[option]:
            raise InputError(f"--{option}: is of images and clips, {recipe.name} reads texts (--train)")
    yield from build_texts(args, recipe, folder)


def find_recipe(name: str) -> Path:
    """A folder of this project by its name. Raises InputError for another."""
    if name in FOLDERS and (ROOT / name).is_dir():
        return ROOT / name
    hint = nearest(name, FOLDERS)
    raise InputError(f"--from: {name!r:.80} is not one of {', '.join(FOLDERS)}{hint}")


def build_texts(args: argparse.Namespace, recipe: Path, folder: Path) -> Iterator[str]:
    """build() of friends, nsmc and klue_re."""
    if not args.train:
        raise InputError("--train: is missing, expected the file with the rows to train on")
    header = [name.strip() for name in args.columns.split(",")] if args.columns else None
    tables = read_tables(args, header)
    train = tables["train"]
    columns = columns_of(train)
    roles = find_roles(tables, columns, args.text, args.target, args.id)
    how = args.kind, args.metric, names_in_order(args), args.decimal
    target = find_target(train, [columns[name] for name in roles.targets], *how)
    sample = tables.get("sample")
    target.names = order_of_sample(sample, target)
    metric = find_metric_name(args.metric, target)
    check_test_labels(tables, target)
    test_id = roles.id or roles.id_of_test
    submission, answers, why_submission = find_submission(sample, target, test_id, metric)
    numbering = find_numbering(tables, test_id)
    check_sample_ids(tables, test_id)
    texts = [columns[name] for name in roles.text_columns]
    plan = Plan(
        name=folder.name,
        recipe=recipe.name,
        files=names_in_data(args, sample),
        roles=roles,
        target=target,
        metric=metric,
        submission=submission,
        answers=answers,
        header=header,
        unquoted=not any(table.quoted for part, table in tables.items() if part in ROWS),
        numbering=numbering,
        html=any(column.share(HTML) for column in texts),
        percent=any(column.share(PERCENT) for column in texts),
    )
    if len(set(plan.files.values())) < len(plan.files):
        raise InputError("two of the files have the same name, expected different ones: they go into one folder, data/")
    script = script_of(texts)
    if recipe.name == "klue_re":
        from common.new.relations import relation_data_py, relation_presets

        code = relation_data_py(plan, train, columns)
        presets = relation_presets(args.model_name_or_path, script, metric, plan.target)
    else:
        code = data_py(plan)
        presets = text_presets(script, args.model_name_or_path, metric, plan.target, rows=len(train))
    yield from describe(tables, columns, plan, script, why_submission)
    with whole_folder(folder) as made:
        write_folder(made, recipe, code, presets, [vars(args)[part] for part in ROWS if vars(args)[part]])
        write_sample_submission(made / "data" / plan.files.get("sample_submission_file", ""), args.sample, sample)
        write_sample(made, plan, columns, sample)
        with atomic_write(made / "README.md") as file:
            file.write(readme(plan, args))
    yield f"{folder}: made from {recipe.name}; data.py has {code.count(chr(10))} lines. Next:"
    yield f"  accelerate launch {folder}/train.py"
    if sample is not None:
        yield f"  {check_command(plan, args.name)}"


def read_tables(args: argparse.Namespace, header: list[str] | None) -> dict[str, Table]:
    tables = {part: read_table(vars(args)[part], header) for part in ROWS if vars(args)[part]}
    if not all(table.quoted for table in tables.values()):
        tables = read_alike(tables, header)
    if args.sample:
        tables["sample"] = read_sample(args.sample)
    for table in tables.values():
        if not len(table):
            raise InputError(f"{table.path}: holds no rows")
    return tables


def read_alike(tables: dict[str, Table], header: list[str] | None) -> dict[str, Table]:
    """Where a quote opens nothing in one file, neither does it in the others: a few rows would lose theirs, and those
    of one file would read otherwise than those of another. As they are where one cannot be read so."""
    try:
        return {part: read_table(table.path, header, tab_quotes=False, note=None) for part, table in tables.items()}
    except InputError:
        return tables


def read_sample(path: str) -> Table:
    """A sample submission, in any format of a table. Raises InputError for a name that stands twice in its header."""
    table = read_table(path, tab_quotes=True)
    columns_of(table)
    return table


def is_usual(path: str, table: Table) -> bool:
    """Whether a file is the CSV that a submission is checked against: with commas, in UTF-8."""
    try:
        header, rows = read_csv(path)
    except InputError:
        return False
    return header == table.header and [fields for _, fields in rows] == [fields for _, fields in table.rows]


def names_in_data(args: argparse.Namespace, sample: Table | None) -> dict[str, str]:
    """Option -> name in data/ of each file that was given."""
    files = {option: Path(vars(args)[part]).name for part, option in OPTIONS.items() if vars(args)[part]}
    if sample is not None and not is_usual(args.sample, sample):
        files["sample_submission_file"] = f"{Path(args.sample).name.partition('.')[0]}.csv"
    return files


def write_sample_submission(path: Path, given: str | None, table: Table | None) -> None:
    """A copy of the file that was given; of another format than CSV its rows as CSV, cells spelled as there."""
    if table is None:
        return
    if is_usual(given, table):
        shutil.copyfile(given, path)
        return
    rows = [dict(zip(table.header, fields, strict=True)) for _, fields in table.rows]
    write_table(path, table.header, rows)


def names_in_order(args: argparse.Namespace) -> list[str] | None:
    """The names of --order. Raises InputError where --kind is another."""
    if args.order is None:
        return None
    if args.kind not in (None, "ordered"):
        raise InputError(f"--order: is of ordered classes, --kind is {args.kind}")
    return [name.strip() for name in args.order.split(",")]


def find_metric_name(name: str | None, target: Target) -> str:
    """The metric, if it fits the target; else the target's own. Raises InputError."""
    from common.targets import target_of
    from common.targets.registry import find_metric

    of = target_of(target.names, target.registered)
    return find_metric(name, of).name if name else of.metric


def check_test_labels(tables: dict[str, Table], target: Target) -> None:
    """Raise InputError for a label of the eval or test file that the training file does not have, and for what is no
    number there. A column that is empty throughout says nothing."""
    for part in ("eval", "test"):
        table = tables.get(part)
        column = target.columns[0]
        if table is None or len(target.columns) > 1 or column not in table.header:
            continue
        cells = table.column(column)
        if not any(cell.strip() for cell in cells):
            if target.may_be_empty:
                what = "is empty in all rows, which reads as no label in each; take the column out"
                raise InputError(f"{table.path}, column {column}: {what}")
            continue
        if len(cells) > 1 and len(set(cells)) == 1 and is_no_target(cells[0], target):
            what = f"is {cells[0].strip()!r:.80} in all rows, which is none of the training file's"
            raise InputError(f"{table.path}, column {column}: {what}; take the column out if it is a placeholder")
        for (row, _), cell in zip(table.rows, cells, strict=True):
            where = f"{table.path}, row {row}, column {column}"
            if target.kind == "number":
                number_of(cell or None, where, target.decimal, target.thousands)
            elif target.kind == "several":
                for name in listed(cell, target.separator):
                    if name not in target.names:
                        found = f"{name!r:.80} is not one of the {len(target.names)} labels"
                        raise InputError(f"{where}: {found} of {tables['train'].path}{nearest(name, target.names)}")
            else:
                label_number(cell or None, target.names, where)


def is_no_target(cell: str, target: Target) -> bool:
    """Whether a cell is none of the target's labels, or no number."""
    if target.kind == "several":
        return not set(listed(cell, target.separator)) <= set(target.names)
    try:
        if target.kind == "number":
            number_of(cell, "", target.decimal, target.thousands)
        else:
            label_number(cell, target.names, "")
    except InputError:
        return True
    return False


def find_numbering(tables: dict[str, Table], row_id: str | None) -> int | None:
    """From which number the rows without an id are counted: as the sample does; None: by the line of the file."""
    sample = tables.get("sample")
    if row_id is not None or sample is None or len(sample.header) < 2:
        return None
    ids = [fields[0] for _, fields in sample.rows]
    for start in (0, 1):
        if ids == [str(number) for number in range(start, len(ids) + start)]:
            return start
    what = f"ids are {', '.join(ids[:3]):.80}, ..., and no column of the test file has them"
    raise InputError(f"{sample.path}, column {sample.header[0]}: {what}; name it with --id")


def check_sample_ids(tables: dict[str, Table], row_id: str | None) -> None:
    """Raise InputError where the ids of the test file are not those of the sample, as training would."""
    if row_id is None or "sample" not in tables or "test" not in tables or len(tables["sample"].header) == 1:
        return
    sample = tables["sample"]
    by_id = {nfc(fields[0]): (row, fields) for row, fields in sample.rows}
    rows = sample.rows if label_rows(sample.rows) is None else list(by_id.values())
    in_order = sorted(rows, key=lambda row: nfc(row[1][0]))
    ids = sorted(tables["test"].column(row_id), key=nfc)
    check_ids(sample.path, sample.header[0], in_order, tables["test"].path, ids)


def describe(
    tables: dict[str, Table], columns: dict[str, Column], plan: Plan, script: str, why_submission: str
) -> Iterator[str]:
    """What was found, in lines."""
    target_column = plan.target.columns[0]
    for part, table in tables.items():
        encoding = f", {table.encoding}" if table.encoding else ""
        yield f"{part}: {table.path}, {len(table):,} rows, {len(table.header)} columns{encoding}"
    if "test" in tables and target_column in tables["test"].header:
        cells = {*tables["test"].column(target_column)}
        if len(cells) == 1 and (cell := cells.pop()).strip():
            what = f"{target_column} is {cell!r:.40} in all rows"
            yield f"  test: {what}, which is taken for their labels; take the column out if it is a placeholder"
    for name, column in columns.items():
        yield f"  {name}: {plan.roles.why[name]} ({column.describe()})"
    if plan.roles.id_of_test:
        yield f"  {plan.roles.id_of_test}: the test file's ids; the training file has none, its rows are numbered"
    elif plan.roles.id is None:
        start = "by their lines" if plan.numbering is None else f"from {plan.numbering}"
        yield f"  rows have no id, they are numbered {start}"
    target = plan.target
    shares = ", ".join(f"{name} {count:,}" for name, count in list(target.counts.items())[:12])
    more = f", and {len(target.counts) - 12} more" if len(target.counts) > 12 else ""
    yield f"target: {target.kind} ({target.why}): {shares}{more}"
    rare = [name for name, count in target.counts.items() if count < 5]
    if rare and target.kind != "number":
        yield f"  {len(rare)} labels have fewer than 5 rows ({', '.join(rare)[:80]}): some folds will lack them"
    yield f"metric: {plan.metric}"
    yield f"text: {' | '.join(plan.roles.segments)} ({script})"
    for text, found in (("HTML entities such as &amp;", plan.html), ("escapes such as %20", plan.percent)):
        if found:
            yield f"  holds {text}: decoded, see data.py's options"
    yield from repeats(tables, columns, plan)
    yield f"submission: {why_submission}"


def repeats(tables: dict[str, Table], columns: dict[str, Column], plan: Plan) -> Iterator[str]:
    """Texts that stand in several rows, and those of them with different targets."""
    targets_of: dict[str, list[tuple[str, ...]]] = {}
    for _, values in tables["train"].records():
        key = same_text([fill(segment, values) for segment in plan.roles.segments])
        targets_of.setdefault(key, []).append(tuple(values[name] for name in plan.target.columns))
    repeated = [targets for targets in targets_of.values() if len(targets) > 1]
    if "" in targets_of or any(not key.strip() for key in targets_of):
        count = sum(len(targets) for key, targets in targets_of.items() if not key.strip())
        yield f"  {count:,} rows have no text at all"
    if repeated:
        differing = [targets for targets in repeated if len(set(targets)) > 1]
        rows = sum(map(len, repeated))
        yield (
            f"  {rows:,} rows repeat {len(repeated):,} texts, which stay in one fold; {len(differing):,} of the texts "
            f"({sum(map(len, differing)):,} rows) have different targets"
        )


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A folder to write to, which has this name when the block ends well, and else is gone. Raises InputError where it
    cannot be written."""
    made = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        yield made
        made.rename(folder)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(made, ignore_errors=True)


def write_folder(folder: Path, recipe: Path, code: str, presets: dict[str, str], files: list[str]) -> None:
    """The recipe's scripts as they are, the contest's files in data/, data.py and configs/."""
    shutil.copytree(recipe, folder, ignore=LEFT_BEHIND)
    if recipe.name in OLD_DATA:
        (folder / "data.py").rename(folder / OLD_DATA[recipe.name])
    (folder / "data").mkdir()
    for file in files:
        copy: Callable[..., Any] = shutil.copytree if Path(file).is_dir() else shutil.copyfile
        copy(file, folder / "data" / Path(file).name)
    for name, text in {"data.py": code, **{f"configs/{name}": text for name, text in presets.items()}}.items():
        with atomic_write(folder / name) as file:
            file.write(text)


def write_sample(folder: Path, plan: Plan, columns: dict[str, Column], sample: Table | None) -> None:
    """sample/: train.csv, test.csv, sample_submission.csv."""
    header = plan.header or list(columns)
    marked = plan.recipe == "klue_re"
    roles = plan.roles
    rows = make_rows(header, columns, plan.target, roles.id, roles.text_columns, marked)
    test_header = header if plan.header else [name for name in header if name not in plan.target.columns]
    if roles.id_of_test:
        rows = [{roles.id_of_test: f"t{number:03}", **row} for number, row in enumerate(rows, start=1)]
        test_header = [roles.id_of_test, *test_header]
    write_table(folder / "sample" / "train.csv", header, rows, plan.header is None)
    write_table(folder / "sample" / "test.csv", test_header, rows[: len(rows) // 2], plan.header is None)
    first = 1 if plan.numbering is None else plan.numbering
    row_id = roles.id or roles.id_of_test
    ids = [row[row_id] if row_id else str(number) for number, row in enumerate(rows[: len(rows) // 2], start=first)]
    if row_id is None and plan.numbering is None and plan.header is None:
        ids = [str(number + 1) for number in range(1, len(ids) + 1)]  # the header is line 1
    with atomic_write(folder / "sample" / "sample_submission.csv") as file:
        file.write(sample_text(plan, sample, row_id, ids))


def sample_text(plan: Plan, sample: Table | None, row_id: str | None, ids: list[str]) -> str:
    """A sample submission of these rows with the columns of the contest's, or without it those that are handed in."""
    if sample is None:
        id_column = row_id or "id"
        names = [plan.target.columns[0] if len(plan.target.columns) == 1 else "labels"]
        names = plan.target.names if '"{label}"' in plan.submission else names
    else:
        id_column = sample.header[0] if len(sample.header) > 1 else None
        names = sample.header[1:] or sample.header
    first = plan.target.names[0]
    cell = dict.fromkeys(("label_list", "label_words", "labels_joined", "most_likely_label"), first)
    cell |= {"label_json": "[]", "probability_list": "[]"}
    cell |= dict.fromkeys(("yes_or_no", "whole_number", "most_likely_number"), "0")
    fill = cell.get(plan.answers[0], "0.5")
    if sample is not None and (column := label_rows(sample.rows)) is not None:
        return long_sample(sample.header, column, ids, plan.target.names, fill)
    return sample_submission(names, id_column, ids, fill)
