"""A text in two spellings, composed and decomposed, is one."""

import json
from types import SimpleNamespace
from unicodedata import normalize

import numpy as np
import pytest

from common.console import InputError
from common.examples import TextExample, check_examples, check_id
from common.files import read_table
from common.guards.spelling import nfc, nfc_span
from common.logits import Logits, average
from common.submission import SubmissionFormat, check_submission, most_likely_label
from klue_re import data as klue_re
from tests.tools.scripts import ROOT, siblings_of


def nfd(text):
    return normalize("NFD", text)


def logits(ids, values=None):
    values = np.arange(2 * len(ids), dtype=np.float32).reshape(-1, 2) if values is None else values
    return Logits(ids, values, [-1] * len(ids), ["a", "b"])


def test_logits_are_aligned_whatever_the_spelling_of_their_ids():
    ids = ["가나", "각", "x"]
    one, other = logits(ids), logits([nfd(name) for name in reversed(ids)])
    assert one.reorder([nfd(name) for name in ids]).logits.tolist() == one.logits.tolist()
    assert average([one, other]).logits.tolist() == [[2, 3]] * 3
    with pytest.raises(InputError, match="repeated"):
        one.reorder(["가나", nfd("가나"), "각"])


def test_a_submission_is_written_in_the_samples_spelling(tmp_path):
    ids = ["가나", "각"]
    sample = tmp_path / "sample.csv"
    sample.write_text("Id,v\n" + "".join(f"{nfd(name)},a\n" for name in reversed(ids)))
    args = SimpleNamespace(sample_submission_file=str(sample), max_predict_samples=None)
    rows = [TextExample(name, ["x"]) for name in ids]
    expected = SubmissionFormat("Id", {"v": most_likely_label}).expect(args, rows, ["a", "b"])
    expected.write(tmp_path / "s.csv", logits(ids, np.array([[1, 0], [0, 1]], dtype=np.float32)))
    assert (tmp_path / "s.csv").read_text() == f"Id,v\n{nfd('각')},b\n{nfd('가나')},a\n"
    (tmp_path / "s.csv").write_text("Id,v\n각,b\n가나,a\n")
    with pytest.raises(InputError, match="NFC and NFD"):  # a competition compares character by character
        check_submission(tmp_path / "s.csv", sample)


def test_two_spellings_of_one_id_are_a_repeated_id():
    first_row = {}
    check_id("각", "id", 2, first_row, "t.csv")
    with pytest.raises(InputError, match="row 5, column id: .* repeated, expected in row 2"):
        check_id(nfd("각"), "id", 5, first_row, "t.csv")
    with pytest.raises(InputError, match="occurs 2 times"):
        check_examples([TextExample("각", ["x"], 0), TextExample(nfd("각"), ["x"], 1)], "t.csv")


def test_headers_and_texts_are_read_composed(tmp_path):
    (tmp_path / "t.csv").write_text(nfd("번호,문장\n1,각\n"))
    header, rows = read_table(tmp_path / "t.csv")
    assert header == ["번호", "문장"] and rows[0][1][1] == nfd("각")
    assert TextExample("1", [rows[0][1][1]]).segments == ["각"]


@pytest.mark.parametrize("text", ["나는 각을 안다", "abc", "é가각"])
def test_offsets_move_with_the_text(text):
    for start in range(len(text)):
        for end in range(start, len(text)):
            before = len(nfd(text[:start]))
            span = before, before + len(nfd(text[start : end + 1])) - 1
            assert nfc_span(nfd(text), *span) == (start, end)
            assert nfc(nfd(text))[start : end + 1] == text[start : end + 1]


def test_klue_res_entities_labels_and_types_are_the_same_in_both_spellings(tmp_path):
    composed = "1\t민세라는 부산에서 산다\t민세라\t0\t2\t부산\t5\t6\t인물:거주지\n"
    sentence = composed.split("\t")[1]
    start = len(nfd(sentence[:5]))
    spans = [(0, len(nfd("민세라")) - 1), (start, start + len(nfd("부산")) - 1)]
    fields = [
        "1",
        nfd(sentence),
        nfd("민세라"),
        *map(str, spans[0]),
        nfd("부산"),
        *map(str, spans[1]),
        nfd("인물:거주지"),
    ]
    (tmp_path / "a.tsv").write_text(composed)
    (tmp_path / "b.tsv").write_text("\t".join(fields) + "\n")
    (tmp_path / "labels.json").write_text(json.dumps({"관계_없음": 0, "인물:거주지": 1}, ensure_ascii=False))
    names = klue_re.read_label_names(tmp_path / "labels.json")
    said = []
    preprocessing = {"label_names": names, "ner": {}}
    rows = [klue_re.read_examples(tmp_path / name, preprocessing, said.append)[0] for name in ("a.tsv", "b.tsv")]
    assert rows[0] == rows[1] and rows[0].label == 1
    assert not any("repaired" in sentence for sentence in said)
    (tmp_path / "twice.json").write_text(json.dumps({"각": 0, nfd("각"): 1}, ensure_ascii=False))
    with pytest.raises(InputError, match="NFC and NFD"):
        klue_re.read_label_names(tmp_path / "twice.json")


def test_two_folders_of_one_class_in_two_spellings_are_one_class(tmp_path):
    from tests.tools.videos import moving_square, write_clip

    for number, name in enumerate(["왼쪽", nfd("왼쪽"), "오른쪽"]):
        (tmp_path / name).mkdir()
        write_clip(tmp_path / name / f"{number}.mp4", images=moving_square(1, number))
    with siblings_of(ROOT / "hand_signal"):
        from data import read_examples
    rows = read_examples(tmp_path, {"label_names": None, "group_by_number": 1})
    assert rows.label_names == ["오른쪽", "왼쪽"]
    assert sorted(row.label for row in rows) == [0, 1, 1]
    assert {row.id.split("/")[0] for row in rows} == {"왼쪽", nfd("왼쪽"), "오른쪽"}
