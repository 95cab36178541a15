"""NSMC, Naver movie reviews: the corpus's files and the Kaggle class competition's, as rows.

For a contest of your own, change LABEL_NAMES, COMPETITION_FILES, the fields and read_examples().
"""

import csv
import io
import re
import unicodedata
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from common.args import print_once
from common.errors import InputError
from common.examples import TextExample
from common.fields import DataArguments, ModelArguments, TextArguments, TuningArguments
from common.files import read_text
from common.logits import Logits

LABEL_NAMES = ["0", "1"]  # negative, positive
COMPETITION_FILES = {
    "train_file": "ratings_train.txt",
    "eval_file": "ratings_test.txt",
    "test_file": "ko_data.csv",
    "sample_submission_file": "ko_sample.csv",
}
ID_COLUMN = "Id"
SUBMISSION_COLUMNS = ["Predicted"]
SUBMISSION_CHECK = {
    "label_names": LABEL_NAMES
}  # what the columns beside the id hold: options of common.submission.check_submission()
PREPROCESSING = ("max_length",)  # what a model's config.json says of its rows
NSMC_COLUMNS = ["id", "document"]  # and `label` where the rows are labelled
KAGGLE_COLUMNS = ["Id", "Sentence"]
LONGEST_DOCUMENT = 10_000  # characters; NSMC's longest has 158, so more is a file that was read wrong


@dataclass
class TaskArguments(TuningArguments, TextArguments, ModelArguments, DataArguments):  # --help begins with the last
    """Fields of train.py beside TrainingArguments."""

    drop_duplicates: bool = field(
        default=False,
        metadata={"help": "train on one row of each text, and on none of a text that carries both labels"},
    )


def read_examples(path: str | Path) -> list[TextExample]:
    """The rows of an NSMC file or of the Kaggle file, in order; its first line says which it is, and whether it is a
    TSV or a CSV.

    An empty text stays a row. Rows whose texts differ only in case, width and white space are one group. Prints the
    number of rows, the encoding and the number of empty texts. Raises InputError that names file, row and column.
    """
    path = Path(path)
    content, encoding = read_korean(path)
    header, *rows = read_tsv(content) if "\t" in content.partition("\n")[0] else read_csv(path, content)
    columns = header[1]
    if columns not in (NSMC_COLUMNS, [*NSMC_COLUMNS, "label"], KAGGLE_COLUMNS):
        wanted = (
            f"{','.join(NSMC_COLUMNS)} and, if labelled, label, or {','.join(KAGGLE_COLUMNS)}, separated by tabs "
            "or commas"
        )
        raise InputError(f"{path}, row 1: columns are {','.join(columns)!r:.200}, expected {wanted}")
    reviews: list[TextExample] = []
    first_row: dict[str, int] = {}
    group_of: dict[str, str] = {}
    for row, fields in rows:
        where = f"{path}, row {row}"
        if len(fields) != len(columns):
            raise InputError(f"{where}: {len(fields)} fields, expected {len(columns)} ({','.join(columns)})")
        row_id, document, *label = fields
        if not row_id.strip():
            raise InputError(f"{where}, column {columns[0]}: is empty")
        if row_id in first_row:
            raise InputError(
                f"{where}, column {columns[0]}: {row_id!r:.80} is repeated, expected in row {first_row[row_id]} only"
            )
        first_row[row_id] = row
        if len(document) > LONGEST_DOCUMENT:
            much = f"has {len(document):,} characters, more than {LONGEST_DOCUMENT:,}; is a quote left open?"
            raise InputError(f"{where}, column {columns[1]}: {much}")
        if label and label[0] not in LABEL_NAMES:
            raise InputError(f"{where}, column label: {label[0]!r:.80} is not one of {', '.join(LABEL_NAMES)}")
        text = unicodedata.normalize("NFC", document if columns == KAGGLE_COLUMNS else unquote(unquote(document)))
        group = group_of.setdefault(same_text(text), row_id)
        reviews.append(TextExample(row_id, [text], LABEL_NAMES.index(label[0]) if label else -1, group))
    empty = sum(not review.segments[0].strip() for review in reviews)
    print_once(
        f"{path.name}: {len(reviews):,} rows, {encoding}" + f", {empty} of them with an empty text" * (empty > 0)
    )
    return reviews


def read_korean(path: Path) -> tuple[str, str]:
    """(text, "UTF-8" or "cp949") of a file that does not say its encoding. Raises InputError where it is neither."""
    try:
        return read_text(path), "UTF-8"
    except InputError as error:
        # a UTF-8 file with a damaged byte is not cp949, though its bytes may be readable as such
        if not isinstance(error.__cause__, UnicodeDecodeError) or is_mostly_utf8(error.__cause__.object):
            raise
    return read_text(path, "cp949"), "cp949"


def is_mostly_utf8(data: bytes) -> bool:
    """Whether Hangul in UTF-8 makes up more than half of the bytes beyond ASCII (in cp949 text, by chance, about one in
    a hundred)."""
    hangul = re.findall(rb"[\xea-\xed][\x80-\xbf]{2}", data)
    return 3 * len(hangul) > len(data.translate(None, bytes(range(128)))) / 2


def read_tsv(content: str) -> list[tuple[int, list[str]]]:
    """(row, its fields) of every line that is not empty. A quote opens nothing here, so that a line is a row."""
    lines = [line.removesuffix("\r") for line in content.split("\n")]
    return [(row, line.split("\t")) for row, line in enumerate(lines, start=1) if line]


def read_csv(path: Path, content: str) -> list[tuple[int, list[str]]]:
    """The same of a CSV file. Raises InputError where it is none."""
    reader = csv.reader(io.StringIO(content, newline=""), strict=True)
    row = 1
    rows = []
    try:
        for fields in reader:
            rows.append((row, fields))
            row = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{path}, row {row}: is not CSV ({error})") from error
    return [rows[0], *((row, fields) for row, fields in rows[1:] if fields)]


QUOTED = re.compile(r'"([^"]*(?:""[^"]*)*)"')


def unquote(text: str) -> str:
    """One layer of CSV quoting less; a text that is not quoted stays as it is.

    NSMC's files quote a document that holds a quotation mark as CSV does, and the result once more, so that 'say "hi"'
    begins with three and ends with seven. Called twice, this gives the text as its author typed it, also from copies
    that were quoted once or not at all.
    """
    match = QUOTED.fullmatch(text)
    return match[1].replace('""', '"') if match else text


def same_text(text: str) -> str:
    """What texts that read the same share: NFKC, lower case, no white space."""
    return "".join(unicodedata.normalize("NFKC", text).lower().split())


def drop_duplicates(
    examples: list[TextExample], splits: list[tuple[np.ndarray, np.ndarray | None]]
) -> tuple[list[tuple[np.ndarray, np.ndarray | None]], str]:
    """The splits with less to train on, and a sentence that counts it: of each text its first row, and none where
    labels contradict.

    Held-out rows stay: every row of the file is still predicted. Raises InputError where a fold is left with fewer than
    two classes.
    """
    labels_of_text: dict[str, set[int]] = defaultdict(set)
    for example in examples:
        labels_of_text[example.group].add(example.label)
    contradicting = {group for group, labels in labels_of_text.items() if len(labels) > 1}
    clear = np.array([example.group not in contradicting for example in examples])
    first = np.array([example.group == example.id for example in examples])
    splits = [(train_idx[(clear & first)[train_idx]], eval_idx) for train_idx, eval_idx in splits]
    if any(len({examples[i].label for i in train_idx}) < 2 for train_idx, _ in splits):
        raise InputError("drop_duplicates: leaves a fold with fewer than two classes to train on")
    counts = (
        f"{(clear & ~first).sum():,} repeats and {(~clear).sum():,} rows of {len(contradicting)} texts with both labels"
    )
    return splits, f"drop_duplicates: {counts} are not trained on"


def submission_columns(logits: Logits) -> dict[str, list[str]]:
    """SUBMISSION_COLUMNS: the most likely label."""
    labels = [LABEL_NAMES[i] for i in logits.logits.argmax(axis=1)]
    return dict(zip(SUBMISSION_COLUMNS, [labels], strict=True))
