"""Write a submission in the competition's format, and check it against the sample before the competition does.

python -m common.submission submission.csv sample_submission.csv
python -m common.submission submission.csv sample_submission.csv --labels joy,anger,neutral
python -m common.submission submission.csv sample_submission.csv --labels 0,1,2,3 --lists    # cells like 2,3 or [2, 3]
python -m common.submission submission.csv sample_submission.csv --probabilities    # or --numbers: the sample has 0
"""

import csv  # PYTHON_ARGCOMPLETE_OK
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.console import ArgumentParser, InputError, is_first_process, print_once, run_main
from common.files import atomic_write, read_table
from common.guards.cells import check_label
from common.guards.samples import (
    check_count,
    check_header,
    check_ids,
    check_rows,
    read_sample,
    sample_columns,
    value_columns,
)
from common.guards.spelling import nfc
from common.logits import Logits
from common.tables.answers import *  # noqa: F403  (data.py has them from here)
from common.tables.answers import answer_kind, check_list, most_likely_label, probability

SUM_TOLERANCE = 1e-4


@dataclass(frozen=True)
class SubmissionFormat:
    """What a competition wants to be handed in.

    id_column: name of the first column; None: a competition without ids, rows stand in the order of the test file.
    columns: name -> function of Logits that gives its N cells (common/tables/answers.py: most_likely_label, number,
    label_list, ...), or your own. A name with {label} in it stands for a column of every label, its function gives C
    lists: probability, score, yes_or_no.
    """

    id_column: str | None
    columns: dict[str, Callable[[Logits], Sequence]]

    def column_names(self, label_names: Sequence[str]) -> list[str]:
        """The columns beside the id."""
        labels = {name: label_names if "{" in name else [""] for name in self.columns}
        return [name.format(label=label) for name in self.columns for label in labels[name]]

    def cells(self, logits: Logits) -> dict[str, Sequence]:
        """Column -> N cells."""
        values = [function(logits) if "{" in name else [function(logits)] for name, function in self.columns.items()]
        names = self.column_names(logits.label_names)
        return dict(zip(names, [cells for group in values for cells in group], strict=True))

    def kinds(self, label_names: Sequence[str]) -> dict[str, str]:
        """Column -> what its cells hold (guards/cells.py) whatever the sample has there; not of most_likely_label."""
        names = {name: SubmissionFormat(None, {name: f}).column_names(label_names) for name, f in self.columns.items()}
        return {c: kind for name, f in self.columns.items() if (kind := answer_kind(f)) for c in names[name]}

    def expect(self, args: Any, examples: Sequence | None, label_names: Sequence[str]) -> "Submission":
        """What to hand in for the test rows (None: there are none), in the order of args.sample_submission_file.

        Call it before training: a sample that does not fit shows early. Raises InputError as read_sample_ids() does.
        """
        sample = None if examples is None else args.sample_submission_file
        if sample and args.max_predict_samples:
            print_once("max_predict_samples: the check against the sample submission is skipped")
            sample = None
        return self.fit(sample, [example.id for example in examples or ()], label_names)

    def fit(self, sample: str | None, ids: Sequence[str], label_names: Sequence[str]) -> "Submission":
        """expect() of the test rows' ids; None: without a sample."""
        if not sample:
            return Submission(self)
        ids = read_sample_ids(sample, ids, self.column_names(label_names), self.id_column)
        sample_columns(sample, *read_sample(sample), **self.cells_asked(label_names))
        return Submission(self, sample, ids)

    def cells_asked(self, label_names: Sequence[str]) -> dict[str, Any]:
        """What check_submission() is to know of the cells."""
        of_label = [name for name, function in self.columns.items() if function is most_likely_label]
        kinds = self.kinds(label_names)
        named = label_names if of_label or "list" in kinds.values() else None
        shares = probability in self.columns.values()
        return {"label_names": named, "label_columns": of_label, "kinds": kinds, "probability_columns": shares}


@dataclass(frozen=True)
class Submission:
    """A SubmissionFormat and, where there is a sample, its path and the ids (N,) in its order."""

    format: SubmissionFormat
    sample: str | None = None
    ids: list[str] | None = None

    def write(self, path: str | Path, logits: Logits | None) -> None:
        """Write it and check it against the sample, on the first process; None: nothing.

        Raises InputError as check_submission() does.
        """
        if logits is None or not is_first_process():
            return
        rows = logits if self.ids is None else logits.reorder(self.ids)
        ids = rows.ids if self.ids is None else self.ids  # as the sample spells them
        write_submission(path, ids, self.format.cells(rows), self.format.id_column)
        if self.sample is None:
            return
        check_submission(path, self.sample, **self.format.cells_asked(logits.label_names))


def write_submission(
    path: str | Path, ids: Sequence[str], columns: dict[str, Sequence], id_column: str | None = "Id"
) -> None:
    """Write a UTF-8 CSV with LF line ends, atomically: `id_column` (N,), then `columns` (N,) each, in their order.

    id_column None: no ids.
    """
    if id_column is not None:
        columns = {id_column: ids, **columns}
    with atomic_write(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def check_submission(
    path: str | Path,
    sample_path: str | Path,
    *,
    label_names: Sequence[str] | None = None,
    label_columns: Sequence[str] = (),
    probability_columns: bool = False,
    kinds: Mapping[str, str] | None = None,
) -> None:
    """Compare a submission with the sample: same columns, same ids in the same order, cells of the sample's kind.

    The first column is the id; where there is only one column, there are no ids, and the number of rows is compared;
    where ids have a row for each label, ids and labels are.
    label_names: label_columns (default: every other column) may hold only these. probability_columns: every other
    column that is none of label_columns holds a probability, and those of a row sum to 1 within 1e-4. kinds: column ->
    what its cells hold in place of what the sample has there; list: several of label_names. Raises InputError `file,
    row, column: what is wrong, what was expected`; rows count the lines of the file, the header is row 1.
    """
    if Path(path).is_file() and Path(path).read_bytes().startswith(b"\xef\xbb\xbf"):
        raise InputError(f"{path}, row 1: starts with a byte-order mark, expected UTF-8 without it")
    header, rows = read_table(path)
    expected_header, expected_rows = read_sample(sample_path)
    check_header(path, header, sample_path, expected_header)
    check_rows(path, header, rows, sample_path, expected_rows)

    asked_cells = label_names, label_columns, probability_columns, kinds
    columns, probabilities = sample_columns(sample_path, expected_header, expected_rows, *asked_cells)
    for row, fields in rows:
        values = dict(zip(header, fields, strict=True))
        for column, asked in columns.items():
            where = f"{path}, row {row}, column {column}"
            if asked.labels is not None:
                check_label(values[column], label_names, where)
            if asked.kind == "list":
                check_list(values[column], label_names, where)
            else:
                asked.check(values[column], where)
        total = sum(float(values[column]) for column in probabilities)
        if probabilities and abs(total - 1) > SUM_TOLERANCE:
            where = f"{path}, row {row}, columns {probabilities[0]} to {probabilities[-1]}"
            raise InputError(f"{where}: probabilities sum to {total:.6g}, expected 1 within {SUM_TOLERANCE}")


def read_sample_ids(
    sample_path: str | Path, ids: Sequence[str], columns: Sequence[str], id_column: str | None = "Id"
) -> list[str]:
    """The sample's ids in its order, for a submission with these columns.

    id_column None: the sample has no ids, and the order is that of `ids`. Raises InputError where the columns are
    others, or its ids (without ids: their number) are not exactly `ids`, those of the test file.
    """
    header, rows = read_sample(sample_path)
    expected = [*columns] if id_column is None else [id_column, *columns]
    if header != expected:
        raise InputError(f"{sample_path}, row 1: columns are {','.join(header)}, expected {','.join(expected)}")
    if id_column is None:
        check_count(sample_path, len(rows), "the test file", len(ids))
        return list(ids)
    by_id = sorted(rows, key=lambda row: nfc(row[1][0]))
    check_ids(sample_path, id_column, by_id, "the test file", sorted(ids, key=nfc))
    return [fields[0] for _, fields in rows]


def main() -> None:
    parser = ArgumentParser("python -m common.submission", __doc__)
    parser.add_argument("submission", help="the CSV file to check")
    parser.add_argument("sample", help="the competition's sample submission")
    values = parser.add_mutually_exclusive_group()
    values.add_argument("--labels", type=lambda text: text.split(","), help="what the other columns may hold: a,b,c")
    parser.add_argument("--lists", action="store_true", help="a cell holds several labels: 2,3,4 or [2, 3, 4]")
    values.add_argument("--probabilities", action="store_true", help="the other columns sum to 1 in each row")
    values.add_argument("--numbers", action="store_true", help="finite numbers, where the sample has whole ones, too")
    args = parser.parse_args()
    if args.lists and not args.labels:
        raise InputError("command line: --lists wants the labels, --labels 0,1,2")
    columns = value_columns(*read_sample(args.sample)) if args.lists or args.numbers else []
    kinds = dict.fromkeys(columns, "list" if args.lists else "number")
    named = {"label_names": args.labels, "kinds": kinds}
    check_submission(args.submission, args.sample, **named, probability_columns=args.probabilities)
    print_once(f"{args.submission}: fits {args.sample}")


if __name__ == "__main__":
    run_main(main)
