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
from common.new.answers import find_submission, order_of_sample
from common.new.code import Plan, data_py
from common.new.kinds import Target, find_target
from common.new.looks import HTML, PERCENT, Column, columns_of, script_of
from common.new.presets import text_presets
from common.new.readme import readme
from common.new.roles import find_roles
from common.new.sample import make_rows, sample_submission, write_table
from common.submission import read_sample_ids
from common.tables import Table, nearest, read_table
from common.tables.columns import fill, same_text

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("friends", "nsmc", "klue_re", "reon_face", "hand_signal")
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
    target = find_target(train, [columns[name] for name in roles.targets], args.kind, args.metric)
    sample = tables.get("sample")
    target.names = order_of_sample(sample, target.names)
    metric = find_metric_name(args.metric, target)
    check_test_labels(tables, target)
    submission, answers, why_submission = find_submission(sample, target, roles.id)
    numbering = find_numbering(tables, roles.id)
    check_sample_ids(tables, roles.id)
    texts = [columns[name] for name in roles.text_columns]
    plan = Plan(
        name=folder.name,
        recipe=recipe.name,
        files={option: Path(vars(args)[part]).name for part, option in OPTIONS.items() if vars(args)[part]},
        roles=roles,
        target=target,
        metric=metric,
        submission=submission,
        answers=answers,
        header=header,
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
        presets = relation_presets(args.model_name_or_path, script, metric)
    else:
        code = data_py(plan)
        presets = text_presets(script, args.model_name_or_path, metric)
    yield from describe(tables, columns, plan, script, why_submission)
    with whole_folder(folder) as made:
        write_folder(made, recipe, code, presets, [vars(args)[part] for part in OPTIONS if vars(args)[part]])
        write_sample(made, plan, columns, sample)
        with atomic_write(made / "README.md") as file:
            file.write(readme(plan, args))
    yield f"{folder}: made from {recipe.name}; data.py has {code.count(chr(10))} lines. Next:"
    yield f"  accelerate launch {folder}/train.py"


def read_tables(args: argparse.Namespace, header: list[str] | None) -> dict[str, Table]:
    tables = {part: read_table(vars(args)[part], header) for part in ("train", "eval", "test") if vars(args)[part]}
    if args.sample:
        names, rows = read_csv(args.sample)  # a submission is CSV
        tables["sample"] = Table(args.sample, names, rows)
    for table in tables.values():
        if not len(table):
            raise InputError(f"{table.path}: holds no rows")
    return tables


def find_metric_name(name: str | None, target: Target) -> str:
    """The metric, if it fits the target; else the target's own. Raises InputError."""
    from common.targets import target_of
    from common.targets.registry import find_metric

    of = target_of(target.names, target.registered)
    return find_metric(name, of).name if name else of.metric


def check_test_labels(tables: dict[str, Table], target: Target) -> None:
    """Raise InputError for a label of the eval or test file that the training file does not have."""
    for part in ("eval", "test"):
        if part not in tables or target.kind not in ("labels", "ordered"):
            continue
        table = tables[part]
        (column,) = target.columns
        for row, values in table.records():
            value = values.get(column, target.names[0]).strip()
            if value not in target.names:
                found = f"{value!r:.80} is not one of the {len(target.names)} labels of {tables['train'].path}"
                raise InputError(f"{table.path}, row {row}, column {column}: {found}{nearest(value, target.names)}")


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
    id_column, *others = tables["sample"].header
    read_sample_ids(tables["sample"].path, tables["test"].column(row_id), others, id_column)


def describe(
    tables: dict[str, Table], columns: dict[str, Column], plan: Plan, script: str, why_submission: str
) -> Iterator[str]:
    """What was found, in lines."""
    for part, table in tables.items():
        encoding = f", {table.encoding}" if table.encoding else ""
        yield f"{part}: {table.path}, {len(table):,} rows, {len(table.header)} columns{encoding}"
    for name, column in columns.items():
        yield f"  {name}: {plan.roles.why[name]} ({column.describe()})"
    if plan.roles.id is None:
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
    write_table(folder / "sample" / "train.csv", header, rows, plan.header is None)
    write_table(folder / "sample" / "test.csv", test_header, rows[: len(rows) // 2], plan.header is None)
    first = 1 if plan.numbering is None else plan.numbering
    ids = [row[roles.id] if roles.id else str(number) for number, row in enumerate(rows[: len(rows) // 2], start=first)]
    if sample is None:
        id_column = roles.id or "id"
        names = [plan.target.columns[0] if len(plan.target.columns) == 1 else "labels"]
    else:
        id_column = sample.header[0] if len(sample.header) > 1 else None
        names = sample.header[1:] or sample.header
    if roles.id is None and plan.numbering is None and plan.header is None:
        ids = [str(number + 1) for number in range(1, len(ids) + 1)]  # the header is line 1
    cell = {
        "yes_or_no": "0",
        "label_json": "[]",
        "label_list": plan.target.names[0],
        "label_words": plan.target.names[0],
    }
    cell |= {"most_likely_label": plan.target.names[0], "most_likely_number": "0", "probability_list": "[]"}
    text = sample_submission(names, id_column, ids, cell.get(plan.answers[0], "0.5"))
    with atomic_write(folder / "sample" / "sample_submission.csv") as file:
        file.write(text)
