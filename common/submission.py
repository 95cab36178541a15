"""Write a submission, and check it against the sample submission before the competition does.

python -m common.submission submission.csv sample_submission.csv
python -m common.submission submission.csv sample_submission.csv --labels joy,anger,neutral
python -m common.submission submission.csv sample_submission.csv --probabilities
"""

import csv
import difflib
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from common.args import print_once
from common.errors import ArgumentParser, InputError, run_main
from common.files import atomic_write, read_text
from common.logits import Logits

MISSING = {
    "",
    "nan",
    "na",
    "n/a",
    "<na>",
    "null",
}  # lower case; what pandas reads as NaN, without "none", which can be a label
SUM_TOLERANCE = 1e-4


def write_submission(
    path: str | Path, ids: Sequence[str], columns: dict[str, Sequence], id_column: str | None = "Id"
) -> None:
    """Write a UTF-8 CSV with LF line ends, atomically: `id_column` (N,), then `columns` (N,) each, in their order.

    id_column None: a competition that wants a single column, in the order of the test file.
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
    probability_columns: bool = False,
    label_column: str | None = None,
) -> None:
    """Compare a submission with the sample: same columns, same ids in the same order (as strings), a value in every
    cell.

    The first column is the id; where there is only one column, there are no ids, and the number of rows is compared.
    label_names: `label_column` (default: every other column) may hold only these. probability_columns: every other
    column but `label_column` holds a probability, and those of a row sum to 1 within 1e-4. Raises InputError `file,
    row, column: what is wrong, what was expected`; rows count the lines of the file, the header is row 1.
    """
    if Path(path).is_file() and Path(path).read_bytes().startswith(b"\xef\xbb\xbf"):
        raise InputError(f"{path}, row 1: starts with a byte-order mark, expected UTF-8 without it")
    header, rows = read_csv(path)
    expected_header, expected_rows = read_csv(sample_path)
    if header != expected_header:
        raise InputError(
            f"{path}, row 1: columns are {','.join(header)}, expected {','.join(expected_header)} as in {sample_path}"
        )
    if len(header) == 1:
        check_count(path, len(rows), sample_path, len(expected_rows))
    else:
        check_ids(path, header[0], rows, sample_path, [fields[0] for _, fields in expected_rows])

    value_columns = header[1:] or header
    probabilities = [column for column in value_columns if column != label_column] if probability_columns else []
    labels = [column for column in value_columns if column not in probabilities] if label_names is not None else []
    for line, fields in rows:
        values = dict(zip(header, fields, strict=True))
        for column in value_columns:
            where = f"{path}, row {line}, column {column}"
            value = values[column]
            if column in labels and value not in label_names:
                nearest = difflib.get_close_matches(value, label_names, n=1, cutoff=0.0)[0]
                raise InputError(
                    f"{where}: unknown label {value!r}, expected one of the {len(label_names)} labels (nearest: "
                    f"{nearest!r})"
                )
            if column not in labels and value.strip().lower() in MISSING:
                raise InputError(
                    f"{where}: {value!r} is no value, expected {'a probability' if column in probabilities else 'one'}"
                )
            if column in probabilities and not is_probability(value):
                raise InputError(f"{where}: {value!r}, expected a probability between 0 and 1")
        total = sum(float(values[column]) for column in probabilities)
        if probabilities and abs(total - 1) > SUM_TOLERANCE:
            columns = f"columns {probabilities[0]} to {probabilities[-1]}"
            raise InputError(
                f"{path}, row {line}, {columns}: probabilities sum to {total:.6g}, expected 1 within {SUM_TOLERANCE}"
            )


def read_sample_ids(
    sample_path: str | Path, ids: Sequence[str], columns: Sequence[str], id_column: str | None = "Id"
) -> list[str]:
    """The sample's ids in its order, for a submission with these columns. Call it before training: a sample that does
    not fit shows early.

    id_column None: the sample has no ids, and the order is that of `ids`. Raises InputError where the columns are
    others, or its ids (without ids: their number) are not exactly `ids`, those of the test file.
    """
    header, rows = read_csv(sample_path)
    expected = [*columns] if id_column is None else [id_column, *columns]
    if header != expected:
        raise InputError(f"{sample_path}, row 1: columns are {','.join(header)}, expected {','.join(expected)}")
    if id_column is None:
        check_count(sample_path, len(rows), "the test file", len(ids))
        return list(ids)
    order = [fields[0] for _, fields in rows]
    check_ids(sample_path, id_column, sorted(rows, key=lambda row: row[1][0]), "the test file", sorted(ids))
    return order


def find_sample_ids(
    args: Any, ids: Sequence[str], columns: Sequence[str], id_column: str | None = "Id"
) -> list[str] | None:
    """read_sample_ids() of a script's sample_submission_file; None where none is named and, which is said, with
    max_predict_samples."""
    if not args.sample_submission_file:
        return None
    if args.max_predict_samples:
        print_once("max_predict_samples: the check against the sample submission is skipped")
        return None
    return read_sample_ids(args.sample_submission_file, ids, columns, id_column)


def submit(
    path: Path,
    logits: Logits,
    sample_ids: Sequence[str] | None,
    args: Any,
    columns_of: Callable[[Logits], dict[str, Sequence]],
    id_column: str | None = "Id",
    **check: Any,
) -> None:
    """Write a submission in the order of sample_ids and check it against the script's sample_submission_file; None: as
    it is, unchecked.

    columns_of: the columns beside the id, (N,) each, of logits. check: options of check_submission(). Raises InputError
    as that does.
    """
    rows = logits if sample_ids is None else logits.reorder(sample_ids)
    write_submission(path, rows.ids, columns_of(rows), id_column)
    if sample_ids is not None:
        check_submission(path, args.sample_submission_file, **check)


def read_csv(path: str | Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Header and rows (line on which the row begins, its fields); blank lines are skipped. Raises InputError where it
    is not a table."""
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    rows = []
    line = 1
    try:
        for fields in reader:
            if fields:
                rows.append((line, fields))
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{path}, row {line}: is not CSV ({error}), expected comma-separated fields") from error
    if not rows:
        raise InputError(f"{path}: is empty, expected a header and one row per id")
    header = rows[0][1]
    for line, fields in rows[1:]:
        if len(fields) != len(header):
            raise InputError(f"{path}, row {line}: {len(fields)} fields, expected {len(header)} ({','.join(header)})")
    return header, rows[1:]


def check_count(path: str | Path, found: int, expected_path: str | Path, expected: int) -> None:
    """Raise InputError where two files without ids differ in their number of rows."""
    if found != expected:
        raise InputError(f"{path}: {found} rows, expected {expected} as in {expected_path}")


def check_ids(
    path: str | Path, column: str, rows: list[tuple[int, list[str]]], sample_path: str | Path, expected: list[str]
) -> None:
    """Raise InputError where the first fields of `rows` are not exactly `expected`, the sample's ids in its order."""
    known = set(expected)
    first_line = {}
    if len(known) < len(expected):
        raise InputError(
            f"{sample_path}, column {column}: {len(expected) - len(known)} ids are repeated, expected each once"
        )
    for line, (row_id, *_) in rows:
        if row_id in first_line:
            raise InputError(
                f"{path}, row {line}, column {column}: id {row_id!r} is repeated, expected in row "
                f"{first_line[row_id]} only"
            )
        if row_id not in known:
            raise InputError(
                f"{path}, row {line}, column {column}: id {row_id!r} is not in {sample_path}, expected only its ids"
            )
        first_line[row_id] = line
    missing = [row_id for row_id in expected if row_id not in first_line]
    if missing:
        what = f"{len(missing)} ids are missing (first: {missing[0]!r}), expected all {len(expected)} of {sample_path}"
        raise InputError(f"{path}, column {column}: {what}")
    for (line, (row_id, *_)), wanted in zip(rows, expected, strict=True):
        if row_id != wanted:
            raise InputError(
                f"{path}, row {line}, column {column}: id {row_id!r}, expected {wanted!r} (the order of {sample_path})"
            )


def is_probability(value: str) -> bool:
    """Whether a cell reads as a number between 0 and 1."""
    try:
        return 0.0 <= float(value) <= 1.0
    except ValueError:
        return False


def main() -> None:
    parser = ArgumentParser("python -m common.submission", __doc__)
    parser.add_argument("submission", help="the CSV file to check")
    parser.add_argument("sample", help="the competition's sample submission")
    values = parser.add_mutually_exclusive_group()
    values.add_argument(
        "--labels", type=lambda text: text.split(","), help="what the columns beside the id may hold, comma-separated"
    )
    values.add_argument(
        "--probabilities",
        action="store_true",
        help="the columns beside the id are probabilities that sum to 1 in a row",
    )
    args = parser.parse_args()
    check_submission(args.submission, args.sample, label_names=args.labels, probability_columns=args.probabilities)
    print(f"{args.submission}: fits {args.sample}")


if __name__ == "__main__":
    run_main(main)
