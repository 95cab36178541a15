"""KLUE-RE's files: offsets, quotes, types, labels, relabelled rows, submissions."""

import csv
import io
import json

import numpy as np
import pytest

from common.console import InputError
from common.logits import Logits
from klue_re.data import (
    COMPETITION_FILES,
    LABEL_FILE,
    SUBMISSIONS,
    TaskArguments,
    TaskPredictArguments,
    apply_label_fixes,
    make_preprocessing,
    read_examples,
    read_label_names,
    read_ner,
)

LABELS = read_label_names(LABEL_FILE)
ROWS = [
    ["w-1", "이순신은 조선의 장군이다", "이순신", "0", "2", "장군", "9", "10", "인물:직업/직함"],
    ["w-2", '"별"의 작가 민세라는 "별밤"을 썼다', "민세라", "8", "10", '"별밤"', "13", "16", "인물:제작"],
    ["w-3", "장군 이순신은 조선 사람이다", "이순신", "3", "5", "장군", "0", "1", "관계_없음"],
]


def tsv(rows, end="\n"):
    file = io.StringIO()
    csv.writer(file, delimiter="\t", lineterminator=end).writerows(rows)
    return file.getvalue()


def klue(**changes):
    """One entry of KLUE's JSON; `changes` replace its fields."""
    subject = {"word": "이순신", "start_idx": 0, "end_idx": 2, "type": "PER"}
    target = {"word": "장군", "start_idx": 9, "end_idx": 10, "type": "POH"}
    return {
        "guid": "klue-re-v1_train_00000",
        "sentence": "이순신은 조선의 장군이다",
        "subject_entity": subject,
        "object_entity": target,
        "label": "인물:직업/직함",
        "source": "wikipedia",
        **changes,
    }


@pytest.fixture
def read(tmp_path):
    """(rows, the sentence that counts them) of a file with this content."""

    def read(content, name="train.tsv", ner=None):
        notes = []
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        rows = read_examples(tmp_path / name, {"label_names": LABELS, "ner": ner or {}}, notes.append)
        return rows, *notes

    return read


def entities_of(example):
    sentence = example.segments[0]
    return [sentence[entity.start : entity.end + 1] for entity in (example.e1, example.e2)]


def test_the_names_are_the_competitions_and_the_42_labels_keep_their_numbers():
    assert COMPETITION_FILES["train_file"] == "train.tsv" and COMPETITION_FILES["test_file"] == "test.tsv"
    assert len(LABELS) == 42 and (LABELS[0], LABELS[4], LABELS[41]) == ("관계_없음", "인물:소속단체", "인물:나이")


@pytest.mark.parametrize(("end", "start"), [("\n", b""), ("\r\n", b""), ("\n", b"\xef\xbb\xbf")])
def test_rows_keep_ids_labels_order_and_quotes_and_their_inclusive_offsets(read, end, start):
    examples, note = read(start + tsv(ROWS, end).encode())
    assert [example.id for example in examples] == ["w-1", "w-2", "w-3"]
    assert [example.segments for example in examples] == [[row[1]] for row in ROWS]
    assert [LABELS[example.label] for example in examples] == [row[8] for row in ROWS]
    assert [entities_of(example) for example in examples] == [[row[2], row[5]] for row in ROWS]
    assert note == "train.tsv: 3 rows"


def test_a_quote_inside_a_word_opens_nothing_and_a_row_may_end_without_a_line_end(read):
    row = "w\t키 5'11\" 정도인 이순신은 장군이다\t이순신\t12\t14\t장군\t17\t18\t관계_없음"
    (example,), _ = read(row)
    assert entities_of(example) == ["이순신", "장군"]


@pytest.mark.parametrize(
    ("start", "end", "found"), [(1, 3, 0), (0, 3, 0), (0, 1, 0), (9, 11, 12), (11, 13, 12), (90, 92, 12), (6, 8, 0)]
)
def test_offsets_that_do_not_fit_are_repaired_to_the_nearest_place_and_counted(read, start, end, found):
    row = ["w", "이순신이 싸운 바다는 이순신의 고향", "이순신", str(start), str(end), "바다", "8", "9", "관계_없음"]
    (example, _), note = read(tsv([row, ["x", *row[1:3], "12", "14", *row[5:]]]))
    assert (example.e1.start, example.e1.end) == (found, found + 2)
    assert note == "train.tsv: 2 rows, 1 of them with offsets that do not fit their entities, repaired (rows 1)"


@pytest.mark.parametrize(
    ("sentence", "entity"),
    [
        ("IBM은 미국의 회사이고 ibm은 아니다", "ibm"),
        ("삼성\xa0전자는 한국 회사", "삼성 전자"),
        ("ＩＢＭ은 미국 회사", "IBM"),
    ],
)
def test_an_entity_stays_at_its_stated_place_where_that_has_it_in_another_case_or_width(read, sentence, entity):
    row = ["w", sentence, entity, "0", str(len(entity) - 1), "회사", *map(str, place(sentence, "회사")), "관계_없음"]
    (example,), note = read(tsv([row]))
    assert (example.e1.start, example.e1.end) == (0, len(entity) - 1) and note == "train.tsv: 1 rows"


def place(sentence, word):
    return sentence.index(word), sentence.index(word) + len(word) - 1


def test_offsets_in_bytes_are_refused_where_entities_recur(read):
    sentence = "이순신이 싸운 바다는 이순신의 고향"
    rows = [[f"w{i}", sentence, "이순신", "33", "41", "바다", "20", "25", "관계_없음"] for i in range(5)]
    with pytest.raises(InputError, match="offsets of 5 of 5 rows are more than 2 characters .*first: row 1.*not bytes"):
        read(tsv(rows))
    inclusive = [[f"w{i}", sentence, "이순신", "13", "15", "바다", "9", "10", "관계_없음"] for i in range(5)]
    examples, _ = read(tsv(inclusive))  # counted from 1: the nearest place is the right one
    assert {example.e1.start for example in examples} == {12}


@pytest.mark.parametrize("cell", ["blind", ""])
def test_blind_or_nothing_is_an_unknown_label(read, cell):
    examples, _ = read(tsv([[*row[:8], cell] for row in ROWS]), "test.tsv")
    assert [example.label for example in examples] == [-1] * 3


def test_rows_of_one_sentence_are_a_group_whatever_its_white_space(read):
    again = ["w-4", "이순신은  조선의 장군이다", "조선", "6", "7", "장군", "10", "11", "관계_없음"]
    examples, _ = read(tsv([*ROWS, again]))
    assert examples[0].group == examples[3].group
    assert len({example.group for example in examples}) == 3


def test_klues_json_is_read_with_its_types(read):
    entries = [klue(), klue(guid="b", label=None), klue(guid="c", label="blind")]
    examples, note = read(json.dumps(entries), "klue-re-v1.1_train.json")
    assert [example.id for example in examples] == ["klue-re-v1_train_00000", "b", "c"]
    assert entities_of(examples[0]) == ["이순신", "장군"]
    assert (examples[0].e1.type, examples[0].e2.type) == ("PER", "POH")
    assert [example.label for example in examples] == [2, -1, -1]
    assert note == "klue-re-v1.1_train.json: 3 rows"


def test_types_come_from_a_ner_file_by_id_and_go_before_those_of_the_json(read, tmp_path):
    (tmp_path / "ner.tsv").write_text("w-3\tPER\tPOH\nklue-re-v1_train_00000\tORG\tLOC\n")
    ner = read_ner(tmp_path / "ner.tsv")
    examples, _ = read(tsv(ROWS), ner=ner)
    assert [(example.e1.type, example.e2.type) for example in examples] == [(None, None), (None, None), ("PER", "POH")]
    (example,), _ = read(json.dumps([klue()]), "klue.json", ner)
    assert (example.e1.type, example.e2.type) == ("ORG", "LOC")


def test_what_counts_the_rows_is_printed_where_nothing_else_takes_it(tmp_path, capsys):
    (tmp_path / "t.tsv").write_text(tsv(ROWS), encoding="utf-8")
    read_examples(tmp_path / "t.tsv", {"label_names": LABELS, "ner": {}})
    assert capsys.readouterr().out == "t.tsv: 3 rows\n"


def test_preprocessing_has_the_labels_of_the_label_file_or_of_a_model_and_the_types(tmp_path):
    (tmp_path / "ner.tsv").write_text("w-3\tPER\tPOH\n")
    (tmp_path / "map.json").write_text(json.dumps({"b": 1, "a": 0}))
    types = {"w-3": ("PER", "POH")}
    args = TaskArguments(label_file=str(tmp_path / "map.json"), ner_file=str(tmp_path / "ner.tsv"))
    assert make_preprocessing(args) == {"label_names": ["a", "b"], "ner": types}
    assert make_preprocessing(TaskArguments()) == {"label_names": LABELS, "ner": {}}
    args = TaskPredictArguments(run_dir=["run"], test_file="t.tsv", ner_file=str(tmp_path / "ner.tsv"))
    assert make_preprocessing(args, ["x", "y"]) == {"label_names": ["x", "y"], "ner": types}


def test_label_names_come_from_the_competitions_map_or_klues_list(tmp_path):
    (tmp_path / "map.json").write_text(json.dumps({"b": 1, "a": 0, "c": 2}))
    (tmp_path / "relation_list.json").write_text(json.dumps({"relations": ["no_relation", "per:title", "org:members"]}))
    assert read_label_names(tmp_path / "map.json") == ["a", "b", "c"]
    assert read_label_names(tmp_path / "relation_list.json") == ["no_relation", "per:title", "org:members"]


def test_label_fixes_relabel_rows_by_id_and_say_how_many(read, tmp_path):
    examples, _ = read(tsv(ROWS))
    fixes = [[20, "w-3", "관계_없음", "인물:직업/직함"], [21, "elsewhere", "인물:자녀", "관계_없음"]]
    (tmp_path / "fixes.json").write_text(json.dumps(fixes))
    note = apply_label_fixes(examples, tmp_path / "fixes.json", LABELS)
    assert [LABELS[example.label] for example in examples] == ["인물:직업/직함", "인물:제작", "인물:직업/직함"]
    assert note == "label_fixes: 1 rows relabelled, 1 more are not in train_file"


def test_a_fix_of_another_label_than_the_rows_is_refused(read, tmp_path):
    examples, _ = read(tsv(ROWS))
    (tmp_path / "fixes.json").write_text(json.dumps([[20, "w-3", "인물:자녀", "관계_없음"]]))
    with pytest.raises(InputError, match="fixes.json, row 1, column old: w-3 has label 관계_없음"):
        apply_label_fixes(examples, tmp_path / "fixes.json", LABELS)


def test_submissions_hold_numbers_or_klues_names_and_probabilities():
    logits = Logits(
        np.array(["a", "b"]),
        np.array([[0.0, 5.0, 1.0], [2.0, 0.0, 0.0]]),
        np.array([-1, -1]),
        ["no_relation", "x", "y"],
    )
    assert SUBMISSIONS["competition"].cells(logits) == {"pred": ["1", "0"]}
    assert SUBMISSIONS["competition"].id_column is None and SUBMISSIONS["klue"].id_column == "id"
    columns = SUBMISSIONS["klue"].cells(logits)
    assert list(columns) == ["pred_label", "probs"]
    assert columns["pred_label"] == ["x", "no_relation"]
    for text, row in zip(columns["probs"], logits.probabilities(), strict=True):
        assert np.allclose(json.loads(text), row, atol=1e-6)
