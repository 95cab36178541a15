"""NSMC, Naver movie reviews: the corpus's files and the Kaggle class competition's, as rows.

What train.py and predict.py want of a data.py, for a contest of your own too (docs/new_competition.md):

COMPETITION_FILES   option -> file name in data/
LABEL_NAMES         the labels, in the order of the model's outputs
SUBMISSION          what is handed in
PREPROCESSING       the keys that a model's config.json has of its rows: make_preprocessing()'s and max_length
TaskArguments       the options of train.py
make_preprocessing  args -> what read_examples() is to do to a row, a dict
read_examples       path, preprocessing -> rows
"""

import re
import unicodedata
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from common.console import InputError, print_once
from common.examples import TextExample, check_id, check_text
from common.options import TextTaskArguments
from common.submission import SubmissionFormat, most_likely_label
from common.tables import read_table

if TYPE_CHECKING:
    from common.folds import Splits

COMPETITION_FILES = {
    "train_file": "ratings_train.txt",
    "eval_file": "ratings_test.txt",
    "test_file": "ko_data.csv",
    "sample_submission_file": "ko_sample.csv",
}
LABEL_NAMES = ["0", "1"]  # negative, positive
SUBMISSION = SubmissionFormat("Id", {"Predicted": most_likely_label})
PREPROCESSING = ("prompt_template", "max_length")
NSMC_COLUMNS = ["id", "document"]  # and `label` where the rows are labelled
KAGGLE_COLUMNS = ["Id", "Sentence"]


@dataclass
class TaskArguments(TextTaskArguments):
    """Fields of train.py beside TrainingArguments."""

    drop_duplicates: bool = field(
        default=False,
        metadata={"help": "train on one row of each text, and on none of a text that carries both labels"},
    )


def make_preprocessing(args: TaskArguments) -> dict:
    """prompt_template: what stands around a review; None: nothing, it is read as it is."""
    return {"prompt_template": args.prompt_template}


def read_examples(path: str | Path, preprocessing: dict) -> list[TextExample]:
    """The rows of an NSMC file or of the Kaggle file, in order; its first line says which it is, and whether it is a
    TSV or a CSV.

    An empty text stays a row. Rows whose texts differ only in case, width and white space are one group. Prints the
    number of rows, the encoding and the number of empty texts. Raises InputError that names file, row and column.
    """
    path = Path(path)
    table = read_table(path, tab_quotes=False, note=None)
    columns = table.header
    if columns not in (NSMC_COLUMNS, [*NSMC_COLUMNS, "label"], KAGGLE_COLUMNS):
        wanted = f"{','.join(NSMC_COLUMNS)} and, if labelled, label, or {','.join(KAGGLE_COLUMNS)}"
        found = f"columns are {','.join(columns)!r:.200}"
        raise InputError(f"{path}, row 1: {found}, expected {wanted}, separated by tabs or commas")
    reviews: list[TextExample] = []
    first_row: dict[str, int] = {}
    group_of: dict[str, str] = {}
    for row, (row_id, document, *label) in table.rows:
        where = f"{path}, row {row}"
        check_id(row_id, columns[0], row, first_row, path)
        check_text(document, f"{where}, column {columns[1]}")
        if label and label[0] not in LABEL_NAMES:
            raise InputError(f"{where}, column label: {label[0]!r:.80} is not one of {', '.join(LABEL_NAMES)}")
        text = unicodedata.normalize("NFC", document if columns == KAGGLE_COLUMNS else unquote(unquote(document)))
        group = group_of.setdefault(same_text(text), row_id)
        number = LABEL_NAMES.index(label[0]) if label else -1
        reviews.append(TextExample(row_id, [text], number, group, template=preprocessing.get("prompt_template")))
    empty = sum(not review.segments[0].strip() for review in reviews)
    of_these = f", {empty} of them with an empty text" if empty else ""
    print_once(f"{path.name}: {len(reviews):,} rows, {', '.join(table.remarks) or 'UTF-8'}{of_these}")
    return reviews


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


def drop_duplicates(examples: list[TextExample], splits: "Splits") -> tuple["Splits", str]:
    """The splits with less to train on, and a sentence that counts it: of each text its first row, and none where
    labels contradict.

    Held-out rows stay: every row of the file is still predicted. Raises InputError where a fold is left with fewer than
    two classes.
    """
    from common.tricks.left_out import without_rows

    labels_of_text: dict[str, set[int]] = defaultdict(set)
    for example in examples:
        labels_of_text[example.group].add(example.label)
    contradicting = {group for group, labels in labels_of_text.items() if len(labels) > 1}
    clear = np.array([example.group not in contradicting for example in examples])
    first = np.array([example.group == example.id for example in examples])
    labels = np.array([example.label for example in examples])
    splits = without_rows(splits, ~(clear & first), labels, "drop_duplicates")
    counts = f"{(clear & ~first).sum():,} repeats and {(~clear).sum():,} rows of {len(contradicting)} texts"
    return splits, f"drop_duplicates: {counts} with both labels are not trained on"
