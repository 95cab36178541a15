"""20 rows for sample/ that are made from the types of the columns alone: no cell of the contest is among them.

Only names are the contest's: of columns and of labels. A label's rows hold a word of its own, so that a model can learn
something.
"""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from common.files import atomic_write
from common.new.kinds import Target
from common.new.looks import Column, script_of

ROWS = 20
WORDS = {
    "english": "river lamp garden window paper silver morning bridge apple copper winter table forest yellow".split(),
    "korean": "바다 나무 기차 하늘 종이 아침 다리 사과 겨울 책상 숲길 노랑 창문 등불".split(),
    "other": "kala mira tono sefu dari lomi pata neru viso gami bolo rute soli hame".split(),
}
MARKS = "<e1> {} </e1> {} <e2> {} </e2>"


def make_rows(
    header: Sequence[str],
    columns: dict[str, Column],
    target: Target,
    row_id: str | None,
    texts: Sequence[str],
    marked: bool,
) -> list[dict[str, str]]:
    """20 rows with these columns."""
    random = np.random.default_rng(0)
    words = WORDS[script_of([columns[name] for name in texts])]
    rows = []
    for number in range(ROWS):
        labels = labels_of(number, target)
        row = {}
        for name in header:
            column = columns[name]
            if name == row_id:
                row[name] = str(number + 1) if column.is_numeric else f"r{number + 1:03}"
            elif name in target.columns:
                row[name] = target_cell(name, number, target, labels)
            elif name in texts:
                row[name] = make_text(column, words, labels, random, marked)
            else:
                row[name] = str(number % 7) if column.is_numeric else words[number % 5]
        rows.append(row)
    return rows


def labels_of(number: int, target: Target) -> list[int]:
    """The numbers of the labels of a row: in turn, of several labels sometimes two."""
    c = len(target.names)
    if target.kind == "several" and number % 3 == 0:
        return sorted({number % c, (number + 1) % c})
    return [number % (4 if target.kind == "number" else c)]


def target_cell(name: str, number: int, target: Target, labels: list[int]) -> str:
    if target.kind == "number":
        return f"{labels[0] + number / 100:.2f}".replace(".", target.decimal)
    if len(target.columns) > 1:
        return str(int(target.names.index(name) in labels))
    names = [target.names[label] for label in labels]
    return json.dumps(names, ensure_ascii=False) if target.is_json else target.separator.join(names)


def make_text(column: Column, words: list[str], labels: list[int], random: np.random.Generator, marked: bool) -> str:
    length = int(np.clip(column.median / 8, 1, 12))
    chosen = [str(word) for word in random.choice(words, length + 3 * marked)]
    if length > 2:
        chosen += [words[label % len(words)] * 2 for label in labels]
    if marked:
        return " ".join([MARKS.format(*chosen[:3]), *chosen[3:]])
    return " ".join(chosen)


def write_table(
    path: str | Path, header: Sequence[str], rows: Sequence[dict[str, str]], with_header: bool = True
) -> None:
    """A CSV, or tab-separated text where there is no header, as the contest's own file is read."""
    with atomic_write(path) as file:
        writer = csv.writer(file, lineterminator="\n", delimiter="," if with_header else "\t")
        if with_header:
            writer.writerow(header)
        writer.writerows([row[name] for name in header] for row in rows)


def sample_submission(columns: list[str], id_column: str | None, ids: Sequence[str], fill: str) -> str:
    """Text of a sample submission with these ids, all cells the same."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*([id_column] if id_column else []), *columns])
    writer.writerows([*([row_id] if id_column else []), *[fill] * len(columns)] for row_id in ids)
    return file.getvalue()


def long_sample(header: list[str], label_column: int, ids: Sequence[str], labels: Sequence[str], fill: str) -> str:
    """The same with a row for each label of each id, named in the column of this number."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(header)
    for row_id in ids:
        for label in labels:
            cells = {0: row_id, label_column: label}
            writer.writerow([cells.get(number, fill) for number in range(len(header))])
    return file.getvalue()
