"""What a submission's cells may hold, and what files say that they are."""

import gzip
import io
import re
import zipfile

import pytest

from common.console import InputError
from common.files import read_text
from common.guards.cells import kind_of
from common.submission import check_submission

SAMPLES = {"integer": "Id,v\na,0\nb,3\n", "number": "Id,v\na,0.5\nb,1\n", "text": "Id,v\na,joy\nb,fear\n"}
NO_VALUES = ["", " ", "nan", "NaN", "-nan", "NA", "#N/A", "N/A", "<NA>", "null"]
NO_NUMBERS = [
    "None",
    "abc",
    "inf",
    "-inf",
    "1e999",
    "１",
    "٣",
    "1_000",
    " 1",
    "1 ",
    "1,5",
    "0x10",
    "--1",
    "true",
    "1.2.3",
]


def check(tmp_path, kind, value, **options):
    (tmp_path / "sample.csv").write_text(SAMPLES[kind])
    (tmp_path / "s.csv").write_text(f'Id,v\na,"{value}"\nb,{SAMPLES[kind].split(",")[-1]}', encoding="utf-8")
    check_submission(tmp_path / "s.csv", tmp_path / "sample.csv", **options)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("integer", ["0", "-7", "+3", "12345678901234567890"]),
        ("number", ["1", "-0.5", ".5", "5.", "1e-3"]),
        ("text", ["None", "none", "a b", "1b"]),
    ],
)
def test_a_value_of_the_samples_kind_fits(tmp_path, kind, values):
    for value in values:
        check(tmp_path, kind, value)


@pytest.mark.parametrize("kind", SAMPLES)
def test_what_is_no_value_or_of_another_kind_is_refused_with_its_place(tmp_path, kind):
    wrong = NO_VALUES + ([] if kind == "text" else NO_NUMBERS) + (["0.5", "1.0"] if kind == "integer" else [])
    for value in wrong:
        with pytest.raises(InputError, match="s.csv, row 2, column v: .*expected"):
            check(tmp_path, kind, value)


def test_the_kind_of_a_column_is_what_all_its_cells_are():
    assert [kind_of(cells) for cells in (["1", "2"], ["1", "2.5"], ["1", "x"], ["", "NaN"], ["", "4"])] == [
        "integer", "number", "text", "text", "integer",
    ]  # fmt: skip


def zipped(name):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr(name, "Id,v\n")
    return data.getvalue()


FOREIGN = {
    "gzip": (gzip.compress(b"Id,v\na,1\n", mtime=0), "gzip"),
    "zip": (zipped("submission.csv"), "zip archive .submission.csv."),
    "xlsx": (zipped("xl/workbook.xml"), "Excel workbook"),
    "xls": (b"\xd0\xcf\x11\xe0" + b"\0" * 99, "Excel workbook"),
    "html": (b"\n <!DOCTYPE html><html><body>Log in</body></html>", "HTML.*login"),
    "utf-16": ("Id,v\na,1\n".encode("utf-16"), "UTF-16"),
    "parquet": (b"PAR1\x15\x04", "Parquet"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
    "cut zip": (zipped("a.csv")[:20], "zip archive that is damaged"),
}


@pytest.mark.parametrize(("data", "message"), FOREIGN.values(), ids=FOREIGN)
def test_a_file_that_is_no_text_is_named_as_what_it_is(tmp_path, data, message):
    (tmp_path / "train.csv").write_bytes(data)
    with pytest.raises(InputError, match=message) as refused:
        read_text(tmp_path / "train.csv")
    assert str(refused.value).startswith(str(tmp_path / "train.csv"))


def test_a_field_of_more_than_131072_characters_is_read(tmp_path):
    (tmp_path / "s.csv").write_text(f"Id,v\na,{'x' * 200_000}\n")
    (tmp_path / "sample.csv").write_text("Id,v\na,x\n")
    check_submission(tmp_path / "s.csv", tmp_path / "sample.csv")
    with pytest.raises(InputError, match=re.escape("sum to 0.9")):
        (tmp_path / "s.csv").write_text("Id,v,w\na,0.4,0.5\n")
        (tmp_path / "sample.csv").write_text("Id,v,w\na,1,0\n")
        check_submission(tmp_path / "s.csv", tmp_path / "sample.csv", probability_columns=True)
