"""A folder for images (a copy of reon_face) or clips (of hand_signal): of a folder per class, or of files and a table.

The copy keeps the recipe's own data.py beside its new one, for the options and for what reads folders. Images and clips
are not copied: data/ has links to where they lie.
"""

import argparse
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.console import InputError
from common.files import atomic_write
from common.guards.listing import IMAGE_SUFFIXES, VIDEO_SUFFIXES, is_hidden
from common.guards.spelling import nfc
from common.new.answers import find_submission, order_of_sample
from common.new.build import (
    LEFT_BEHIND,
    OLD_DATA,
    check_test_labels,
    find_metric_name,
    names_in_order,
    read_sample,
    sample_text,
    whole_folder,
    write_sample_submission,
)
from common.new.code import (
    Plan,
    as_source,
    head,
    label_lines,
    long_import,
    submission_import,
    target_helpers,
    targets_import,
)
from common.new.kinds import Target, find_target
from common.new.looks import Column, columns_of
from common.new.presets import search_metric
from common.new.readme import check_command, readme
from common.new.roles import Roles, check_column, find_id, find_targets, id_of_sample
from common.new.sample import ROWS, labels_of, target_cell, write_table
from common.submission import check_ids
from common.tables import Table, read_table
from common.tables.media import files_of, find_file

FILE_NAMES = ("path", "file", "filename", "file_name", "image", "image_id", "img", "video", "clip", "id")
PREDICTED = 5  # rows of the sample without a label
OF_CLASSES = ("label_smoothing_factor", "mixup_alpha", "calibrate")  # options that other targets do not have
# METRIC is looked for where TaskArguments stands
OPTIONS_OF_TRAIN = ["", "", "class TaskArguments(RecipeArguments):", '    """Options of train.py."""']


@dataclass
class Media:
    """What the two recipes differ in: the option that names the files' folder, and their endings."""

    option: str
    suffixes: tuple[str, ...]


MEDIA = {"reon_face": Media("images", IMAGE_SUFFIXES), "hand_signal": Media("clips", VIDEO_SUFFIXES)}


def build_media(args: argparse.Namespace, recipe: Path, folder: Path) -> Iterator[str]:
    """Make the folder; yields what there is to say. Raises InputError before anything is written."""
    media = MEDIA[recipe.name]
    where = vars(args)[media.option]
    for option in ("train", "eval", "text", "columns", *(m.option for m in MEDIA.values() if m is not media)):
        if vars(args)[option]:
            raise InputError(f"--{option}: {recipe.name} reads --{media.option} and, with them, --labels")
    if not where or not Path(where).is_dir():
        raise InputError(f"--{media.option}: {where or 'is missing'}, expected a folder of {media.option}")
    if args.test and not Path(args.test).is_dir() and not args.labels:
        raise InputError(f"--test: {args.test} is no folder, expected a folder of {media.option}")
    sample = read_sample(args.sample) if args.sample else None
    files = {"train_file": media.option, "test_file": "test", "sample_submission_file": "sample_submission.csv"}
    row_id = args.id
    start = Path(where)
    if args.labels:
        tables = read_media_tables(args, sample)
        start = folder_meant(tables, start, media, args.path)
        if start != Path(where):
            yield f"--{media.option}: the tables name files from the folder above, {start}, which is taken"
        table = tables["train"]
        column, target, said = look_at_table(args, tables, media, start)
        row_id = find_media_id(args, tables, column)
        yield from check_test(tables, Path(args.test) if args.test else None, row_id or column, column, media, start)
        files["train_file"] = Path(args.labels).name
        if args.test and not Path(args.test).is_dir():
            files["test_file"] = Path(args.test).name
    else:
        column = None
        target = folders_of_classes(start)
        said = [f"target: labels, the folders of {where}: {', '.join(target.names):.200}"]
    links = {media.option: start, **({"test": args.test} if args.test and Path(args.test).is_dir() else {})}
    if args.labels:  # of folders the names' order is that of the labels
        target.names = order_of_sample(sample, target)
    metric = find_metric_name(args.metric, target)
    submission, answers, why = find_submission(sample, target, row_id or column, metric)
    of_test = row_id if args.labels and row_id and row_id not in table.header else None
    roles = Roles(column if of_test else row_id or column, [], target.columns, {}, of_test)
    keep = {"test_file": args.test, "sample_submission_file": args.sample}
    files = {option: name for option, name in files.items() if keep.get(option, name)}
    plan = Plan(folder.name, recipe.name, files, roles, target, metric, submission, answers)
    endings = bool(args.labels) and Path(table.column(column)[0]).suffix.lower() in media.suffixes
    code = table_code(plan, media, column, endings) if args.labels else folder_code(plan, media)
    yield from [*said, f"metric: {metric}", f"submission: {why}"]
    with whole_folder(folder) as made:
        write(args, recipe, made, plan, code, links)
        write_sample_submission(made / "data" / "sample_submission.csv", args.sample, sample)
        write_sample(made, plan, media, column, sample)
        with atomic_write(made / "README.md") as file:
            file.write(readme(plan, args))
    yield f"{folder}: made from {recipe.name}; data.py has {code.count(chr(10))} lines; data/ holds links. Next:"
    yield f"  accelerate launch {folder}/train.py"
    if sample is not None:
        yield f"  {check_command(plan, args.name)}"


def folders_of_classes(where: Path) -> Target:
    """The folders in a folder are the labels. Raises InputError for fewer than two."""
    folders = [p for p in where.iterdir() if p.is_dir() and not is_hidden(p.name) and any(p.iterdir())]
    names = sorted({nfc(p.name) for p in folders})
    if len(names) < 2:
        raise InputError(
            f"{where}: holds {len(names)} folders, expected one a class, or --labels with a table of labels"
        )
    counts = {name: sum(1 for p in folders if nfc(p.name) == name for _ in p.iterdir()) for name in names}
    return Target("labels", ["label"], names, "a folder per class", counts)


def read_media_tables(args: argparse.Namespace, sample: Table | None) -> dict[str, Table]:
    """train: --labels; test and sample where they are tables."""
    tables = {"train": read_table(args.labels)}
    if args.test and not Path(args.test).is_dir():
        tables["test"] = read_table(args.test)
    return tables | ({"sample": sample} if sample is not None else {})


def folder_meant(tables: dict[str, Table], where: Path, media: Media, path: str | None) -> Path:
    """The folder that the tables' names of files start from: where, or the one above it, where names such as
    ./test/a.jpg and ./train/b.jpg are found from there only."""
    if path and path not in tables["train"].header:
        return where
    columns = [path] if path else tables["train"].header
    above = Path(os.path.abspath(where)).parent
    for folder, deep in ((where, False), (above, False)):
        if any(names_files(tables, column, folder, media, deep) for column in columns):
            return folder
    return where


def names_files(tables: dict[str, Table], column: str, folder: Path, media: Media, deep: bool) -> bool:
    """Whether a column's first cell, in each table that has it, names a file."""
    parts = [tables[part] for part in ("train", "test") if part in tables and column in tables[part].header]
    try:
        return all(
            find_file(folder, table.column(column)[0], media.suffixes, "", deep) for table in parts if len(table)
        )
    except InputError:
        return False


def look_at_table(
    args: argparse.Namespace, tables: dict[str, Table], media: Media, where: Path
) -> tuple[str, Target, list[str]]:
    """(the column with the files' names, the target, lines). Raises InputError for a missing file."""
    table = tables["train"]
    columns = columns_of(table)
    targets = find_targets(tables, columns, args.target, {})
    column = find_path_column(tables, columns, targets, args.path, media, where)
    files: dict[Path, str] = {}
    for row, values in table.records():
        value = values[column]
        file = find_file(where, value, media.suffixes, f"{table.path}, row {row}, column {column}")
        if file in files:
            also = f" (as {files[file]!r:.80}, too)" if files[file] != value else ""
            what = f"{value!r:.80} stands in several rows{also}, expected each file once"
            raise InputError(f"{table.path}, column {column}: {what}")
        files[file] = value
    how = args.kind, args.metric, names_in_order(args), args.decimal
    target = find_target(table, [columns[name] for name in targets], *how)
    check_test_labels({part: tables[part] for part in ("train", "test") if part in tables}, target)
    shares = ", ".join(f"{name} {count:,}" for name, count in list(target.counts.items())[:12])
    said = [f"labels: {table.path}, {len(table):,} rows"]
    said += [f"  {column}: the files' names ({columns[column].describe()})"]
    return column, target, [*said, f"target: {target.kind} ({target.why}): {shares}"]


def find_media_id(args: argparse.Namespace, tables: dict[str, Table], column: str) -> str | None:
    """The column of the ids where these are not the files' names: as --id says, or the test table's that has the
    sample's. Raises InputError where the labels' table has it, but with a value twice."""
    columns = columns_of(tables["train"])
    row_id = args.id or id_of_sample(tables, columns)
    if row_id is None or row_id == column or row_id not in columns:
        if args.id and row_id not in columns and row_id not in tables.get("test", tables["train"]).header:
            check_column(args.id, tables["train"], "--id")
        return row_id
    return find_id(tables, columns, row_id, [], {}, by_sample=args.id is None)


def check_test(
    tables: dict[str, Table], test: Path | None, row_id: str, column: str, media: Media, where: Path
) -> Iterator[str]:
    """A line on test files that have a label, if there is one. Raises InputError for a test table that names no file of
    the folder, and for ids that are not the sample's."""
    sample = tables.get("sample")
    if "test" in tables:
        table = tables["test"]
        check_column(column, table, "the files' names")
        files = [
            find_file(where, values[column], media.suffixes, f"{table.path}, row {row}, column {column}")
            for row, values in table.records()
        ]
        yield from compare_files(tables, files, column, media, where)
        ids = table.column(row_id if row_id in table.header else column)
    elif test is not None and media.option == "images":
        endings = Path(tables["train"].column(column)[0]).suffix.lower() in media.suffixes
        ids = [values[column] for _, values in files_of(test, [column], media.suffixes, endings)]
    else:
        return
    if sample is not None and len(sample.header) > 1:
        rows = sorted(sample.rows, key=lambda row: nfc(row[1][0]))
        check_ids(
            sample.path, sample.header[0], rows, tables["test"].path if "test" in tables else test, sorted(ids, key=nfc)
        )


def compare_files(tables: dict[str, Table], files: list[Path], column: str, media: Media, where: Path) -> Iterator[str]:
    """A line on test files that have a label: files of the same names in another folder may be meant."""
    train = tables["train"]
    labelled = {find_file(where, name, media.suffixes, "") for name in train.column(column)}
    if both := [file for file in files if file in labelled]:
        what = f"{len(both)} of {len(files)} test files have a label in {train.path} (first: {both[0]})"
        yield f"warning: {what}; if files of another folder are meant, name it with --test"


def find_path_column(
    tables: dict[str, Table],
    columns: dict[str, Column],
    targets: list[str],
    path: str | None,
    media: Media,
    where: Path,
) -> str:
    table = tables["train"]
    if path:
        return check_column(path, table, "--path")
    names = [name for name in columns if name not in targets and len(table)]
    known = sorted(names, key=lambda name: name.lower() not in FILE_NAMES)
    for parts, deep in ((tables, False), (tables, True), ({"train": table}, True)):
        for name in known:
            if names_files(parts, name, where, media, deep):
                return name
    raise InputError(f"{table.path}: no column of {','.join(names):.200} names files of {where}; name it with --path")


def folder_code(plan: Plan, media: Media) -> str:
    """data.py of a folder per class."""
    module = OLD_DATA[plan.recipe].removesuffix(".py")
    is_face = plan.recipe == "reon_face"
    lines = [
        f'"""{plan.name}: a folder of {media.option} per class. Written by common.new, to be edited.',
        "",
        'What train.py and predict.py want of it: docs/new_competition.md."""',
        "",
        submission_import(plan),
        *long_import(plan),
        "",
        f"from {module} import *  # noqa: F403  (what the other files want of data.py)",
        f"from {module} import TaskArguments as RecipeArguments",
        "",
        *[line for line in head(plan) if not line.startswith("LABEL_NAMES")],
        *OPTIONS_OF_TRAIN,
        *([] if is_face else ["", "", "def submission_format(examples):", "    return SUBMISSION"]),
    ]
    return "\n".join(lines) + "\n"


def table_code(plan: Plan, media: Media, column: str, endings: bool) -> str:
    """data.py of files and a table of their labels."""
    module = OLD_DATA[plan.recipe].removesuffix(".py")
    is_face = plan.recipe == "reon_face"
    suffixes = "IMAGE_SUFFIXES" if is_face else "VIDEO_SUFFIXES"
    own = "Faces, fingerprints, people_of, ranks" if is_face else "ClipExample, Clips, list_frames, set_groups"
    lines = [
        f'"""{plan.name}: {media.option} and a table of their labels. Written by common.new, to be edited.',
        "",
        'What train.py and predict.py want of it: docs/new_competition.md."""',
        "",
        "from pathlib import Path",
        "",
        *(["import numpy as np", ""] if is_face else []),
        "from common.examples import check_id",
        f"from common.guards.listing import {suffixes}",
        submission_import(plan),
        "from common.tables import read_table",
        f"from common.tables.columns import {', '.join(target_helpers(plan.target))}",
        *long_import(plan),
        f"from common.tables.media import {'files_of, ' if is_face else ''}find_file",
        *targets_import(plan.target),
        "",
        f"from {module} import *  # noqa: F403  (what the other files want of data.py)",
        f"from {module} import {own}",
        f"from {module} import TaskArguments as RecipeArguments",
        *([] if is_face else [f"from {module} import read_examples as read_folder"]),
        "",
        *head(plan),
        *OPTIONS_OF_TRAIN,
        "",
        "",
        *([] if is_face else ["def submission_format(examples):", "    return SUBMISSION", "", ""]),
        *table_reader(plan, column, suffixes, media.option, is_face, endings),
    ]
    return "\n".join(lines) + "\n"


def table_reader(plan: Plan, column: str, suffixes: str, option: str, is_face: bool, endings: bool) -> list[str]:
    """Source of read_examples(). endings: whether the table's names of files have theirs."""
    row_id, of_test = plan.roles.id or column, plan.roles.id_of_test
    identity = f"values[{as_source(row_id)}]"
    identity = f"values.get({as_source(of_test)}, {identity})" if of_test else identity
    needed = as_source(list(dict.fromkeys([row_id, column])))
    optional = [*([of_test] if of_test else []), *plan.target.columns]
    records = f"read_table(path).records({needed}, {as_source(optional)})"
    start = [
        "def read_examples(path, preprocessing):",
        f'    """The {option} that a table names, in {option}/ beside it; or those of a folder, without labels."""',
        "    path = Path(path)",
    ]
    if is_face:
        bare = "" if endings else ", endings=False"
        start += [
            f"    folder = path if path.is_dir() else path.parent / {as_source(option)}",
            "    if path.is_dir():",
            f"        rows = files_of(path, {needed}, {suffixes}{bare})",
            "    else:",
            f"        rows = {records}",
        ]
    else:
        start += [
            f"    folder = path.parent / {as_source(option)}",
            "    if path.is_dir():",
            '        return read_folder(path, {**preprocessing, "label_names": LABEL_NAMES})',
            f"    rows = {records}",
        ]
    loop = [
        "    for row, values in rows:",
        '        where = f"{path}, row {row}"',
        f"        check_id({identity}, {as_source(of_test or row_id)}, row, first_row, path)",
        f"        file = find_file(folder, values[{as_source(column)}], {suffixes}, where)",
        *label_lines(plan.target),
    ]
    if is_face:
        return [
            *start,
            "    import datasets",
            "",
            "    from common.tricks.groups import join_groups",
            "",
            "    ids, paths, labels, first_row = [], [], [], {}",
            *loop,
            f"        ids.append({identity})",
            "        paths.append(str(file))",
            "        labels.append(label)",
            '    files = {"id": ids, "path": paths, "row": [-1] * len(ids), "row_group": [-1] * len(ids)}',
            "    people = people_of(paths, preprocessing, folder)  # by --subject_pattern: they stay in one fold",
            "    groups = lambda: join_groups(people, ranks(fingerprints(paths)))  # noqa: E731",
            "    rows = datasets.Dataset.from_dict(files)",
            "    return Faces(rows, np.array(labels), LABEL_NAMES, path.parent, groups, (people >= 0).any())",
        ]
    return [
        *start,
        "    clips = []",
        "    first_row = {}",
        *loop,
        "        frames = list_frames(file) if file.is_dir() else []",
        f"        clips.append(ClipExample({identity}, file, frames, label))",
        '    set_groups(clips, preprocessing["group_by_number"])',
        "    return Clips(clips, LABEL_NAMES)",
    ]


def write(args: argparse.Namespace, recipe: Path, folder: Path, plan: Plan, code: str, links: dict[str, str]) -> None:
    """The recipe's files as they are, links and tables in data/, data.py and presets."""
    import shutil

    shutil.copytree(recipe, folder, ignore=LEFT_BEHIND)
    (folder / "data.py").rename(folder / OLD_DATA[recipe.name])
    (folder / "data").mkdir()
    for name, target in links.items():
        (folder / "data" / name).symlink_to(Path(target).resolve(), target_is_directory=True)
    for file in (args.labels, args.test):
        if file and Path(file).is_file():
            shutil.copyfile(file, folder / "data" / Path(file).name)
    presets = {name: (recipe / "configs" / name).read_text(encoding="utf-8") for name in ("tune.yaml", "final.yaml")}
    presets["search.yaml"] = (recipe / "configs" / "search.yaml").read_text(encoding="utf-8")
    presets["search.yaml"] = re.sub(r"^metric: .*\n", search_metric(plan.metric), presets["search.yaml"], flags=re.M)
    if plan.target.kind != "labels":
        for name, text in presets.items():
            kept = [line for line in text.splitlines() if not line.strip().startswith(OF_CLASSES)]
            presets[name] = "\n".join(kept) + "\n"
    if args.model_name_or_path:
        for name in ("tune.yaml", "final.yaml"):
            line = f"model_name_or_path: {args.model_name_or_path}"
            presets[name] = re.sub(r"^model_name_or_path: .*$", line, presets[name], flags=re.M)
    train = f"sample/{plan.files['train_file']}"
    test = "sample/test.csv" if args.labels else "sample/test"
    shared = "model_name_or_path: scratch\nnum_folds: 2\nnum_train_epochs: 2\nlearning_rate: 1e-3\n"
    size = "image_size: 32\n" if recipe.name == "reon_face" else "num_frames: 4\nframe_stride: 0\ncrop_size: 32\n"
    presets["demo.yaml"] = (
        "# The sample, which is drawn and says nothing of the contest: a small model from scratch, no network, a CPU.\n"
        f"train_file: {train}\ntest_file: {test}\nsample_submission_file: sample/sample_submission.csv\n"
        f"{shared}{size}per_device_train_batch_size: 6\n"
    )
    for name, text in {"data.py": code, **{f"configs/{name}": text for name, text in presets.items()}}.items():
        with atomic_write(folder / name) as file:
            file.write(text)


def write_sample(folder: Path, plan: Plan, media: Media, column: str | None, sample: Table | None) -> None:
    """20 drawn images, or clips as folders of 6 drawn frames, and five more to predict. A table names its files, or
    without a table the folders are the labels."""
    random = np.random.default_rng(0)
    row_id, of_test = plan.roles.id or "id", plan.roles.id_of_test
    train, test = [], []
    for number in range(ROWS + PREDICTED):
        labels = labels_of(number, plan.target)
        name = f"{number + 1:03}" + ".png" * (media.option == "images")
        where = (
            media.option if column else "test" if number >= ROWS else f"{media.option}/{plan.target.names[labels[0]]}"
        )
        draw(folder / "sample" / where / name, 25 * (labels[0] % 7), random)
        row = {row_id: name, column or row_id: name}
        if number >= ROWS:
            test.append(row | ({of_test: f"t{number:03}"} if of_test else {}))
        else:
            train.append(row | {c: target_cell(c, number, plan.target, labels) for c in plan.target.columns})
    if column:
        write_table(folder / "sample" / plan.files["train_file"], list(train[0]), train)
        write_table(folder / "sample" / "test.csv", list(test[0]), test)
    text = sample_text(plan, sample, of_test or row_id, [row[of_test or row_id] for row in test])
    with atomic_write(folder / "sample" / "sample_submission.csv") as file:
        file.write(text)


def draw(path: Path, light: int, random: np.random.Generator) -> None:
    """A noisy image, or where the path has no ending a folder of six."""
    from PIL import Image

    for file in [path] if path.suffix else [path / f"{frame}.png" for frame in range(6)]:
        pixels = np.clip(random.normal(np.array([40, 60, 80]) + light, 30, (48, 48, 3)), 0, 255).astype(np.uint8)
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file)
