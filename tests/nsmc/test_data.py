"""NSMC's and the Kaggle competition's files: encodings, quotes, empty and repeated texts."""

import csv
import unicodedata

import numpy as np
import pytest

from common.console import InputError
from common.examples import TextExample
from nsmc.data import COMPETITION_FILES, LABEL_NAMES, SUBMISSION, drop_duplicates, read_examples, unquote

ROWS = [
    ("10", "진짜 재밌다", "1"),
    ("11", "", "0"),
    ("12", '"""이게 """"명작""""이라고?"""', "0"),
    ("13", "노잼ㅋㅋ", "0"),
]
TEXTS = ["진짜 재밌다", "", '이게 "명작"이라고?', "노잼ㅋㅋ"]


def tsv(rows, header="id\tdocument\tlabel", end="\n"):
    return "".join(line + end for line in [header, *("\t".join(row) for row in rows)])


@pytest.fixture
def read(tmp_path):
    def read(content, name="ratings.txt"):
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_examples(tmp_path / name, {})

    return read


def texts_of(reviews):
    return [review.segments[0] for review in reviews]


def test_the_names_are_the_competitions_and_the_labels_keep_their_order():
    assert COMPETITION_FILES == {
        "train_file": "ratings_train.txt",
        "eval_file": "ratings_test.txt",
        "test_file": "ko_data.csv",
        "sample_submission_file": "ko_sample.csv",
    }
    assert LABEL_NAMES == ["0", "1"]


def test_rows_keep_ids_labels_and_order_and_an_empty_text_stays_a_row_that_is_counted(read, capsys):
    reviews = read(tsv(ROWS))
    assert [(review.id, review.label) for review in reviews] == [("10", 1), ("11", 0), ("12", 0), ("13", 0)]
    assert texts_of(reviews) == TEXTS
    assert capsys.readouterr().out == "ratings.txt: 4 rows, UTF-8, 1 of them with an empty text\n"


@pytest.mark.parametrize(
    ("end", "start"), [("\n", b""), ("\r\n", b""), ("\n", b"\xef\xbb\xbf"), ("\r\n", b"\xef\xbb\xbf")]
)
def test_line_ends_and_a_byte_order_mark_change_nothing(read, end, start):
    assert texts_of(read(start + tsv(ROWS, end=end).encode())) == TEXTS


@pytest.mark.parametrize(
    ("stored", "text"),
    [
        ('"""앞 """"가운데"""" 뒤"""', '앞 "가운데" 뒤'),
        ('"""""""전부"""""""', '"전부"'),
        ('"""""""앞""""만"""', '"앞"만'),
        ('"한 번만 ""따옴표"""', '한 번만 "따옴표"'),
        ('따옴표 "그대로" 둔 사본', '따옴표 "그대로" 둔 사본'),
        ('"짝이 없는', '"짝이 없는'),
        ('짝이 없는"', '짝이 없는"'),
        ('"앞" 뒤 "끝"', '"앞" 뒤 "끝"'),
        ('""""""""""', '"'),
        ('"', '"'),
        ("", ""),
    ],
)
def test_the_text_is_what_the_author_typed_however_often_it_was_quoted(read, stored, text):
    assert unquote(unquote(stored)) == text
    assert texts_of(read(tsv([("1", stored, "1"), ("2", "다음 줄", "0")]))) == [text, "다음 줄"]


def test_every_text_with_quotes_survives_two_csv_writers(read, tmp_path):
    texts = ['"', '""', 'a"', '"a', 'a "b" c', '"a" "b"', '"a, b"', ' "a" ']

    def written(text):
        with open(tmp_path / "w.csv", "w", newline="") as file:
            csv.writer(file, lineterminator="").writerow([text])
        return (tmp_path / "w.csv").read_text()

    assert texts_of(read(tsv([(str(i), written(written(text)), "0") for i, text in enumerate(texts)]))) == texts


@pytest.mark.parametrize("mark", ["\u2028", "\u0085", "\x0b", "\x1c", "\u00a0", "\u00ad"])
def test_a_character_that_only_python_takes_for_a_line_end_ends_no_row(read, mark):
    assert len(read(tsv([("1", f"앞{mark}뒤", "1"), ("2", "다음", "0")]))) == 2


def test_decomposed_hangul_is_composed(read):
    assert texts_of(read(tsv([("1", unicodedata.normalize("NFD", "재밌다"), "1")]))) == ["재밌다"]


def test_a_file_without_the_label_column_has_unknown_labels(read):
    assert [review.label for review in read("id\tdocument\n1\t좋다\n2\t별로\n")] == [-1, -1]


def test_a_copy_with_commas_is_read_as_the_original_with_tabs(read, tmp_path):
    with open(tmp_path / "copy.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("id", "document", "label"), *zip("1234", TEXTS, "1000", strict=True)])
    reviews = read((tmp_path / "copy.csv").read_bytes(), "copy.csv")
    assert texts_of(reviews) == TEXTS and [review.label for review in reviews] == [1, 0, 0, 0]


CSV = 'Id,Sentence\n0,좋다\n1,"음악, 연기 다 ""최고"""\n2,"두 줄\n리뷰"\n3,\n'


@pytest.mark.parametrize(("encoding", "said"), [("utf-8", "UTF-8"), ("utf-8-sig", "UTF-8"), ("cp949", "cp949")])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_kaggle_file_is_read_in_either_encoding_which_is_said(read, capsys, encoding, said, end):
    reviews = read(CSV.replace("\n", end).encode(encoding), "ko_data.csv")
    assert [review.id for review in reviews] == ["0", "1", "2", "3"]
    assert texts_of(reviews) == ["좋다", '음악, 연기 다 "최고"', f"두 줄{end}리뷰", ""]
    assert [review.label for review in reviews] == [-1] * 4
    assert f"4 rows, {said}, 1 of them" in capsys.readouterr().out


def test_an_nsmc_file_may_be_cp949_too_and_every_cp949_syllable_is_read(read, capsys):
    syllables = "".join(chr(code) for code in range(0xAC00, 0xD7A4))
    rows = [(str(i), syllables[i : i + 100], "0") for i in range(0, len(syllables), 100)]
    assert texts_of(read(tsv(rows).encode("cp949"))) == [row[1] for row in rows]
    assert "cp949" in capsys.readouterr().out


@pytest.mark.parametrize("position", range(30, 60))
def test_a_damaged_utf8_file_is_not_taken_for_cp949(read, position):
    data = bytearray(tsv(ROWS).encode())
    data[position] = 0xFF
    with pytest.raises(InputError, match="row [2-5]: is not UTF-8 text"):
        read(bytes(data))


def test_a_truncated_utf8_file_is_refused_at_its_last_row(read):
    data = tsv([("1", "좋다", "1"), ("2", "별로다", "0")]).encode().rpartition("다".encode())[0] + "다".encode()[:2]
    with pytest.raises(InputError, match="row 3: is not UTF-8 text"):
        read(data)


def test_texts_that_read_the_same_are_one_group_and_others_are_not(read):
    documents = ["재밌다 GOOD", "재밌다good", "  재밌다　ＧＯＯＤ ", "재밌다 goods", "", " ", "재밌다!"]
    reviews = read(tsv([(str(i), document, "1") for i, document in enumerate(documents)]))
    assert [review.group for review in reviews] == ["0", "0", "0", "3", "4", "4", "6"]


def examples_of(rows):
    """TextExamples from (text, label); the group is the id of the first row with the text."""
    first = {}
    return [TextExample(str(i), [text], label, first.setdefault(text, str(i))) for i, (text, label) in enumerate(rows)]


def test_drop_duplicates_trains_on_the_first_row_of_a_text_and_on_none_with_both_labels():
    examples = examples_of([("a", 1), ("b", 0), ("a", 1), ("c", 0), ("c", 1), ("c", 1), ("d", 1), ("e", 0), ("b", 0)])
    splits = [(np.array([0, 1, 2, 3, 4, 5, 6, 8]), np.array([7])), (np.arange(9), None)]
    fewer, note = drop_duplicates(examples, splits)
    assert [train_idx.tolist() for train_idx, _ in fewer] == [[0, 1, 6], [0, 1, 6, 7]]
    assert fewer[0][1].tolist() == [7] and fewer[1][1] is None
    assert note == "drop_duplicates: 2 repeats and 3 rows of 1 texts with both labels are not trained on"
    assert [len(train_idx) for train_idx, _ in splits] == [8, 9]


def test_drop_duplicates_that_leaves_one_class_is_refused():
    examples = examples_of([("a", 1), ("b", 0), ("b", 1), ("c", 1)])
    with pytest.raises(InputError, match="drop_duplicates"):
        drop_duplicates(examples, [(np.arange(4), None)])


def test_the_submission_holds_the_more_likely_label():
    from common.logits import Logits

    logits = Logits(np.array(["a", "b"]), np.array([[1.0, 2.0], [0.5, -3.0]]), np.array([-1, -1]), LABEL_NAMES)
    assert SUBMISSION.cells(logits) == {"Predicted": ["1", "0"]}
