"""One table, whatever file it comes in: the same header and cells, and a sentence for what is no table."""

import datetime
import decimal
import gzip
import io
import json
import zipfile

import datasets
import numpy as np
import openpyxl
import pyarrow
import pyarrow.feather
import pyarrow.parquet
import pytest

from common.console import InputError
from common.guards import bombs
from common.tables import read_table

HEADER = ["id", "text", "label"]
ROWS = [["1", "Wind, and rain", "0"], ["2", 'He said "no"\nand left', "1"], ["3", "", "0"]]
CSV = 'id,text,label\n1,"Wind, and rain",0\n2,"He said ""no""\nand left",1\n3,,0\n'


def columns():
    return {name: [row[place] for row in ROWS] for place, name in enumerate(HEADER)}


def typed():
    return {"id": [1, 2, 3], "text": [row[1] or None for row in ROWS], "label": [0, 1, 0]}


def zipped(**files):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def workbook(*sheets):
    book = openpyxl.Workbook()
    book.remove(book.active)
    for rows in sheets:
        sheet = book.create_sheet()
        for row in rows:
            sheet.append(row)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def excel():
    return workbook([HEADER, *zip(*typed().values(), strict=True)])


def json_lines():
    return "".join(json.dumps(dict(zip(HEADER, row, strict=True))) + "\n" for row in ROWS).encode()


def parquet(table=None):
    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(typed()) if table is None else table, file)
    return file.getvalue()


def arrow(compression):
    file = io.BytesIO()
    pyarrow.feather.write_feather(pyarrow.table(typed()), file, compression=compression)
    return file.getvalue()


def stream():
    file = io.BytesIO()
    table = pyarrow.table(typed())
    with pyarrow.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    return file.getvalue()


FILES = {
    "t.csv": lambda: CSV.encode(),
    "mark.csv": lambda: b"\xef\xbb\xbf" + CSV.encode(),
    "windows.csv": lambda: CSV.replace(",0\n", ",0\r\n").encode(),
    "semicolons.csv": lambda: CSV.replace(",0", ";0").replace(",1", ";1").replace("1,", "1;", 1)
    .replace("2,", "2;", 1).replace("3,", "3;").replace("id,text,", "id;text;").encode(),
    "tabs.csv": lambda: CSV.replace("id,text,label", "id\ttext\tlabel").replace("1,", "1\t", 1).replace("2,", "2\t", 1)
    .replace("3,,", "3\t\t").replace('",', '"\t').encode(),
    "wide.csv": lambda: CSV.encode("utf-16"),
    "wide_le.csv": lambda: CSV.encode("utf-16-le"),
    "wide_be.csv": lambda: CSV.encode("utf-16-be"),
    "wider.csv": lambda: CSV.encode("utf-32"),
    "wider_be.csv": lambda: b"\0\0\xfe\xff" + CSV.encode("utf-32-be"),
    "excel.csv": lambda: b"\xef\xbb\xbfsep=,\r\n" + CSV.encode(),
    "t.csv.gz": lambda: gzip.compress(CSV.encode()),
    "two_members.csv.gz": lambda: gzip.compress(CSV[:30].encode()) + gzip.compress(CSV[30:].encode()),
    "no_suffix": lambda: gzip.compress(CSV.encode()),
    "t.zip": lambda: zipped(**{"t.csv": CSV, "__MACOSX/._t.csv": "x"}),
    "t.jsonl": json_lines,
    "t.jsonl.gz": lambda: gzip.compress(json_lines()),
    "t.json": lambda: json.dumps([dict(zip(HEADER, row, strict=True)) for row in ROWS], indent=1).encode(),
    "t.parquet": parquet,
    "t.feather": lambda: arrow("uncompressed"),
    "small.feather": lambda: arrow("zstd"),
    "t.arrow": stream,
    "t.xlsx": excel,
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_every_format_and_encoding_gives_the_same_header_and_cells(tmp_path, name):
    (tmp_path / name).write_bytes(FILES[name]())
    table = read_table(tmp_path / name)
    assert table.header == HEADER
    assert [fields for _, fields in table.rows] == ROWS


def test_a_first_line_for_excel_names_the_delimiter_and_rows_keep_their_numbers(tmp_path, capsys):
    (tmp_path / "t.csv").write_text("sep=;\nid;text\n1;a,b,c\n2;d,e,f\n")
    table = read_table(tmp_path / "t.csv")
    assert table.header == ["id", "text"] and table.rows == [(3, ["1", "a,b,c"]), (4, ["2", "d,e,f"])]
    assert "its first line names the delimiter" in capsys.readouterr().out
    (tmp_path / "other.csv").write_text("sep=x,text\n1,a\n")
    assert read_table(tmp_path / "other.csv").header == ["sep=x", "text"]


def test_a_folder_that_datasets_saved_gives_names_of_classes(tmp_path):
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["ham", "spam"])}
    )
    rows = datasets.Dataset.from_dict({"text": ["a", "b", "c"], "label": [1, 0, -1]}, features=features)
    rows.save_to_disk(tmp_path / "saved", num_shards=2)
    table = read_table(tmp_path / "saved")
    assert [fields for _, fields in table.rows] == [["a", "spam"], ["b", "ham"], ["c", ""]]
    with pytest.raises(InputError, match="saved"):
        read_table(tmp_path)


@pytest.mark.parametrize(
    ("text", "encoding", "said"),
    [
        ("id,text\n1,영화가 재밌다\n2,별로다 정말\n", "cp949", "cp949"),
        ("id,text\n1,똠방각하 펲시콜라 설믜\n", "cp949", "cp949"),
        ("id,text\n1,it’s a “nice” café\n2,naïve – don’t\n", "cp1252", "cp1252"),
        ("id,text\n1,Ünïcode ist schön und größer\n", "cp1252", "cp1252"),
        ("id,text\n1,it’s café\n", "utf-8", None),
    ],
)
def test_the_encoding_is_told_by_the_content_and_said_where_it_is_not_utf8(tmp_path, capsys, text, encoding, said):
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    rows = [line.split(",") for line in text.splitlines()[1:]]
    assert [fields for _, fields in read_table(tmp_path / "t.csv").rows] == rows
    assert capsys.readouterr().out == (f"t.csv: {said}\n" if said else "")


def test_a_quote_opens_nothing_where_lines_are_rows_without_it_and_is_csv_where_they_are_rows_with_it(tmp_path, capsys):
    (tmp_path / "open.tsv").write_text('id\ttext\n1\t"Hi" he said\n2\t"so\n3\tx"\n')
    table = read_table(tmp_path / "open.tsv")
    assert [fields[1] for _, fields in table.rows] == ['"Hi" he said', '"so', 'x"']
    assert not table.quoted
    assert "a quote opens nothing" in capsys.readouterr().out
    (tmp_path / "closed.tsv").write_text('id\ttext\n1\t"Hi ""you"""\n2\tso\n')
    assert [fields[1] for _, fields in read_table(tmp_path / "closed.tsv").rows] == ['Hi "you"', "so"]
    (tmp_path / "joined.tsv").write_text('id\ttext\n1\t"so\n2\tend"\n')  # a quote would join two whole rows
    assert len(read_table(tmp_path / "joined.tsv")) == 2


def test_lines_of_an_old_macintosh_are_rows_with_and_without_quotes(tmp_path):
    (tmp_path / "t.tsv").write_bytes(b"id\ttext\r1\ta\r2\tb\r")
    for quotes in (True, False, None):
        assert [fields for _, fields in read_table(tmp_path / "t.tsv", tab_quotes=quotes).rows] == [
            ["1", "a"],
            ["2", "b"],
        ]


def test_blank_lines_of_a_single_column_are_said(tmp_path, capsys):
    (tmp_path / "t.csv").write_text('text\na\n\n"b\n\nc"\n\n\n""\nd\n\n')
    assert read_table(tmp_path / "t.csv").column("text") == ["a", "b\n\nc", "", "d"]
    assert capsys.readouterr().out == "t.csv: 3 blank lines between rows are no rows\n"


def test_numbers_of_json_are_spelled_as_in_the_file(tmp_path):
    (tmp_path / "t.jsonl").write_text('{"id": 1e5, "n": 12345678901234567890.0, "l": [0.5, 1.0], "m": NaN}\n')
    assert read_table(tmp_path / "t.jsonl").rows[0][1] == ["1e5", "12345678901234567890.0", "[0.5, 1.0]", ""]


def test_zeros_that_excel_shows_in_front_of_a_number_are_read(tmp_path):
    book = openpyxl.Workbook()
    for row in (["id", "n"], [7, 7], [12345, 0.5], [None, True]):
        book.active.append(row)
    for line in (2, 3, 4):
        book.active.cell(line, 1).number_format = "000"
    book.save(tmp_path / "t.xlsx")
    assert [fields for _, fields in read_table(tmp_path / "t.xlsx").rows] == [
        ["007", "7"],
        ["12345", "0.5"],
        ["", "True"],
    ]


def test_a_date_of_excel_has_a_time_where_its_format_shows_one(tmp_path):
    book = openpyxl.Workbook()
    day = datetime.datetime(2024, 1, 5)
    for row in (["id", "at"], [day, day], [day + datetime.timedelta(days=1), day + datetime.timedelta(hours=7)]):
        book.active.append(row)
    for line in (2, 3):
        book.active.cell(line, 1).number_format = "yyyy-mm-dd"
    book.save(tmp_path / "t.xlsx")
    assert [fields for _, fields in read_table(tmp_path / "t.xlsx").rows] == [
        ["2024-01-05", "2024-01-05T00:00:00"],
        ["2024-01-06", "2024-01-05T07:00:00"],
    ]


def test_a_decimal_has_no_exponent(tmp_path):
    numbers = pyarrow.array([decimal.Decimal("0E-9"), decimal.Decimal("1.5")], pyarrow.decimal128(12, 9))
    (tmp_path / "t.parquet").write_bytes(parquet(pyarrow.table({"n": numbers})))
    assert read_table(tmp_path / "t.parquet").column("n") == ["0.000000000", "1.500000000"]


def test_objects_in_objects_are_columns_with_both_names(tmp_path):
    lines = ['{"id": 1, "in": {"text": "a", "of": {"n": 2}}, "x": [1]}', '{"id": 2, "in": {"text": "b"}, "x": {}}']
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    table = read_table(tmp_path / "t.jsonl")
    assert table.header == ["id", "in.text", "in.of.n", "x"]
    assert [fields for _, fields in table.rows] == [["1", "a", "2", "[1]"], ["2", "b", "", ""]]
    (tmp_path / "t.jsonl").write_text('{"a.b": 1, "a": {"b": 2}}\n')
    with pytest.raises(InputError, match="'a.b' stands there twice"):
        read_table(tmp_path / "t.jsonl")


@pytest.mark.parametrize("indent", [None, 1])
def test_rows_in_an_object_are_found_and_columns_in_one_are_refused(tmp_path, capsys, indent):
    rows = [{"id": 1, "text": "a"}, {"id": 2, "text": "b"}]
    (tmp_path / "t.json").write_text(json.dumps({"version": 1, "data": rows}, indent=indent))
    assert read_table(tmp_path / "t.json").rows == [(1, ["1", "a"]), (2, ["2", "b"])]
    assert capsys.readouterr().out == "t.json: its rows are those of 'data'\n"
    (tmp_path / "t.json").write_text(json.dumps({"id": {"0": 1}, "text": {"0": "a"}}, indent=indent))
    with pytest.raises(InputError, match="expected an array of objects, one a row"):
        read_table(tmp_path / "t.json")


def test_what_systems_put_into_an_archive_is_no_file_of_it(tmp_path):
    junk = {".DS_Store": b"x", "__MACOSX/data/._t.csv": b"x", "data/Thumbs.db": b"x", "data/._t.csv": b"x"}
    (tmp_path / "t.zip").write_bytes(zipped(**junk, **{"data/t.csv": CSV}))
    assert read_table(tmp_path / "t.zip").header == HEADER


def test_columns_without_a_name_are_left_out_where_they_are_empty_and_else_have_the_names_of_pandas(tmp_path, capsys):
    (tmp_path / "t.csv").write_text("v1,v2,,,\nham,a,,,\nspam,b, ,,\n")
    table = read_table(tmp_path / "t.csv")
    assert table.header == ["v1", "v2"] and table.rows == [(2, ["ham", "a"]), (3, ["spam", "b"])]
    assert capsys.readouterr().out == "t.csv: 3 columns without a name or a cell are left out\n"
    (tmp_path / "t.csv").write_text("v1,v2,,,\nham,a,x,y,\nspam,b,,,\n")
    table = read_table(tmp_path / "t.csv")
    assert list(table.records())[0] == (2, {"v1": "ham", "v2": "a", "Unnamed: 2": "x", "Unnamed: 3": "y"})
    (tmp_path / "t.csv").write_text(",text\n0,a\n")  # an index keeps its name, which a submission has to have
    assert read_table(tmp_path / "t.csv").header == ["", "text"]


def test_a_header_among_the_rows_is_refused_and_a_text_like_the_name_of_its_only_column_is_not(tmp_path):
    (tmp_path / "t.csv").write_text("id,text\n1,a\nid,text\n1,b\n")
    with pytest.raises(InputError, match="row 3: the names of the columns stand there, expected a row; take the line"):
        read_table(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text("id,text\n1,a\n")
    with pytest.raises(InputError, match="row 1: .* leave --columns out"):
        read_table(tmp_path / "t.csv", ["id", "text"])
    (tmp_path / "t.csv").write_text("text\na\ntext\n")
    assert read_table(tmp_path / "t.csv").column("text") == ["a", "text"]


def test_rows_are_named_by_the_line_that_they_begin_on(tmp_path):
    (tmp_path / "t.csv").write_text(CSV)
    assert [row for row, _ in read_table(tmp_path / "t.csv").rows] == [2, 3, 5]


@pytest.mark.parametrize(
    ("name", "content", "fragment"),
    [
        ("t.csv.gz", gzip.compress(CSV.encode(), mtime=0)[:-12], "download it again"),
        ("t.csv.gz", b"\x1f\x8bnothing", "damaged"),
        ("t.zip", zipped(**{"a.csv": CSV, "b.csv": CSV}), "2 files (a.csv, b.csv)"),
        ("t.zip", zipped(**{"a.csv": CSV})[:-30], "damaged"),
        ("t.gz.gz", gzip.compress(gzip.compress(CSV.encode(), mtime=0), mtime=0), "compressed with gzip"),
        ("t.parquet", b"PAR1" + b"x" * 50, "Parquet"),
        ("t.feather", b"ARROW1" + b"x" * 50, "Arrow"),
        ("t.xlsx", zipped(**{"xl/workbook.xml": "<a>"}), "Excel workbook"),
        ("t.xlsx", workbook([["a"], ["1"]], [["b"], ["2"]]), "2 sheets"),
        ("t.xlsx", workbook([["a", None, "b"], [1, 2, 3]]), "column 2 has no name"),
        ("t.xlsx", workbook([["a", "b"], [1, 2], [3, "=A2+1"]]), "cell B3: holds a formula without its value"),
        ("t.jsonl", b'{"a": 1}\n{"a": 2\n', "row 2"),
        ("t.jsonl", b'{"a": 1}\n[2]\n', "row 2"),
        ("t.jsonl", b'{"a": 1}\n{"a": 2, "a": 3}\n', "row 2: is not JSON that can be read (an object has two values"),
        ("t.pdf", b"%PDF-1.4", "is a PDF"),
        ("t.7z", b"7z\xbc\xaf\x27\x1c", "7z archive"),
        ("t.csv", "id,text\n1,별로\n".encode().replace("별".encode(), b"\xeb\xff\x84") + "2,좋다\n".encode(), "row 2"),
        ("t.csv", b"id,text\n1,a\0b\n", "NUL"),
        ("t.csv", b"a,b\n1,2,3\n", "row 2: 3 fields"),
        ("t.csv", "id,text\n1,这部电影非常好看，演员的表演很精彩\n".encode("gbk"), "nor cp949"),
        ("t.csv", "id,text\n1,これは日本語の文章です\n".encode("euc_jp"), "nor cp949"),
        ("t.csv", b"", "is empty"),
    ],
    # an archive holds the second in which it was made, and two processes must collect the same tests
    ids=lambda value: value if isinstance(value, str) else "bytes",
)
def test_what_is_no_table_is_refused_in_a_sentence_that_names_the_file(tmp_path, name, content, fragment):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as raised:
        read_table(tmp_path / name)
    assert name in str(raised.value)
    assert fragment in str(raised.value)


def bomb_of_gzip():
    return gzip.compress(bytes(2**21) + b"\n")


def bomb_of_zip():
    return zipped(**{"t.csv": b" " * 2**21})


def bomb_of_runs():
    return parquet(pyarrow.table({"a": pyarrow.array([1]).take(pyarrow.array([0] * 3000))}))


def bomb_of_strings():
    words = pyarrow.array(["x" * 2**21, "y"])
    return parquet(
        pyarrow.table({"a": pyarrow.DictionaryArray.from_arrays(pyarrow.array([0, 1]), words).cast("string")})
    )


@pytest.mark.parametrize("make", [bomb_of_gzip, bomb_of_zip, bomb_of_runs, bomb_of_strings])
def test_a_small_file_that_wants_much_memory_is_refused(tmp_path, monkeypatch, make):
    monkeypatch.setattr(bombs, "NPZ_BYTES", 2**20)
    monkeypatch.setattr(bombs, "NPZ_RATIO", 20)
    monkeypatch.setattr(bombs, "TABLE_CELLS", 1000)
    (tmp_path / "t").write_bytes(make())
    with pytest.raises(InputError, match="more than"):
        read_table(tmp_path / "t")


def test_a_column_that_is_not_there_is_named_with_the_nearest_that_is(tmp_path):
    (tmp_path / "t.csv").write_text(CSV)
    with pytest.raises(InputError, match="no column 'Texts' .nearest: 'text'."):
        next(read_table(tmp_path / "t.csv").records(["Texts"]))
    (tmp_path / "t.csv").write_text("a,a\n1,2\n")
    with pytest.raises(InputError, match="two columns are named 'a'"):
        next(read_table(tmp_path / "t.csv").records())


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_a_table_or_one_sentence(tmp_path, name):
    random = np.random.default_rng(len(name))
    whole = FILES[name]()
    for _ in range(15):
        data = bytearray(whole)
        place = int(random.integers(len(data)))
        data[place : place + int(random.integers(0, 9))] = random.bytes(int(random.integers(0, 9)))
        (tmp_path / name).write_bytes(data[: int(random.integers(1, 2 * len(data)))])
        try:
            read_table(tmp_path / name)
        except InputError as error:
            assert name in str(error)  # noqa: PT017  (a table is well, too)
