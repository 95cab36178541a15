"""The competition's files, their repair, speakers and context."""

import csv
import json

import pytest

from common.console import InputError
from friends.data import (
    CONTEXTS,
    LABEL_NAMES,
    PREPROCESSING,
    TaskArguments,
    fill_template,
    frequent_speakers,
    make_examples,
    make_preprocessing,
    read_examples,
    read_utterances,
    repair_text,
    special_tokens,
)

DIALOGUES = [
    [
        {"speaker": "Ann", "utterance": "Don\x92t!", "emotion": "anger", "annotation": "0"},
        {"speaker": "Bo", "utterance": "Why\x85", "emotion": "neutral", "annotation": "0"},
        {"speaker": "Ann", "utterance": "Go.", "emotion": "sadness", "annotation": "0"},
    ],
    [{"speaker": "Cy", "utterance": "Hi", "emotion": "joy", "annotation": "0"}],
]


@pytest.fixture
def utterances(tmp_path):
    path = tmp_path / "t.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(DIALOGUES).encode())
    return read_utterances(path, repair=True)


def test_json_rows_have_ids_groups_and_mended_text_in_the_files_order(utterances):
    assert [u.id for u in utterances] == ["0_0", "0_1", "0_2", "1_0"]
    assert [u.text for u in utterances] == ["Don't!", "Why...", "Go.", "Hi"]


def test_the_kaggle_csv_with_bom_crlf_and_quotes_reads_the_same_lines(tmp_path, utterances):
    path = tmp_path / "t.csv"
    with open(path, "w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file, lineterminator="\r\n")
        writer.writerow(["id", "i_dialog", "i_utterance", "speaker", "utterance"])
        writer.writerows(
            [["7", 0, 0, "Ann", "Don?t!"], ["8", 0, 1, "Bo", 'He said "no", twice'], ["9", 1, 0, "Cy", "Hi"]]
        )
    rows = read_utterances(path, repair=True)
    assert [(u.id, u.dialogue, u.text, u.emotion) for u in rows] == [
        ("7", "0", "Don't!", None),
        ("8", "0", 'He said "no", twice', None),
        ("9", "1", "Hi", None),
    ]


def test_columns_are_found_by_name_and_an_empty_emotion_is_unknown(tmp_path):
    (tmp_path / "t.csv").write_text(
        "season,utterance,speaker,i_utterance,i_dialog,emotion,id\n1,Hi!,Ann,0,3,joy,a\n1,Oh.,Bo,1,3,,b\n"
    )
    rows = read_utterances(tmp_path / "t.csv", repair=True)
    assert [(u.id, u.dialogue, u.speaker, u.text, u.emotion) for u in rows] == [
        ("a", "3", "Ann", "Hi!", "joy"),
        ("b", "3", "Bo", "Oh.", None),
    ]


@pytest.mark.parametrize(
    ("numbers", "missing"),
    [
        ([(0, 0), (0, 1), (1, 0)], None),
        ([(0, 1), (0, 2), (1, 1)], None),  # counted from 1
        ([(0, 2), (1, 0), (1, 1)], "1 rows lines of the dialogue are missing (first: row 2)"),
        ([(0, 0), (1, 1), (2, 4), (2, 6)], "3 rows lines of the dialogue are missing (first: row 3)"),
    ],
)
def test_a_dialogue_whose_beginning_stands_in_another_file_is_said(tmp_path, capsys, numbers, missing):
    rows = "".join(f"{i},{dialogue},{number},Ann,Hi\n" for i, (dialogue, number) in enumerate(numbers))
    (tmp_path / "t.csv").write_text("id,i_dialog,i_utterance,speaker,utterance\n" + rows)
    read_utterances(tmp_path / "t.csv", repair=True)
    printed = capsys.readouterr().out
    assert missing in printed if missing else not printed


@pytest.mark.parametrize(
    ("raw", "mended"),
    [
        ("I\x92m \x93fine\x94 \x96 no\x97yes\x85", 'I\'m "fine" – no—yes...'),
        ("I don?t want", "I don't want"),
        ("MY SISTER?S BABY", "MY SISTER'S BABY"),
        ("You okay?", "You okay?"),
        ("Really? You?re sure?", "Really? You're sure?"),
        ("Hi Ben?No!!", "Hi Ben—No!!"),
        ("great meetin? ya", "great meetin' ya"),
        ("y?know, o?clock", "y'know, o'clock"),
        ("Again? I say", "Again? I say"),
        ("undefined \x81 byte", "undefined  byte"),
    ],
)
def test_repair_mends_apostrophes_and_leaves_questions(raw, mended):
    assert repair_text(raw) == mended


def test_context_never_crosses_a_dialogue_and_a_missing_neighbour_is_none(utterances):
    rows = make_examples(utterances, "colon", "previous_current_next", None)
    assert rows[0].segments == ["[None]", "Ann : Don't!", "Bo : Why..."]
    assert rows[2].segments == ["Bo : Why...", "Ann : Go.", "[None]"]
    assert rows[3].segments == ["[None]", "Cy : Hi", "[None]"]
    assert [r.label for r in rows] == [LABEL_NAMES.index(e) for e in ("anger", "neutral", "sadness", "joy")]
    assert [r.group for r in rows] == ["0", "0", "0", "1"]


@pytest.mark.parametrize("context", list(CONTEXTS))
def test_main_is_the_current_line_in_every_context(utterances, context):
    for row, utterance in zip(make_examples(utterances, "none", context, None), utterances, strict=True):
        assert row.segments[row.main] == utterance.text and len(row.segments) == len(CONTEXTS[context])


def test_speaker_formats_and_rare_speakers(utterances):
    def first(speaker_format, speakers=None):
        return make_examples(utterances, speaker_format, "current", speakers)[0].segments[0]

    assert [first(f) for f in ("colon", "space", "bracket", "says", "none")] == [
        "Ann : Don't!",
        "Ann Don't!",
        "[Ann] Don't!",
        "[Ann] [Says] Don't!",
        "Don't!",
    ]
    assert frequent_speakers(utterances, 0.5) == ["Ann"] and frequent_speakers(utterances, 0) == ["Ann", "Bo", "Cy"]
    assert first("colon", ["Bo"]) == "Don't!"
    assert special_tokens("says", "current_previous", ["Ann"]) == ["[None]", "[Ann]", "[Says]"]
    assert special_tokens("colon", "current", ["Ann"]) == []


def test_rare_speakers_are_left_out_of_a_template_too(utterances):
    rows = [fill_template(utterances, "{speaker}: {current}", "none", speakers)[0] for speakers in (None, ["Bo"])]
    assert [row.segments for row in rows] == [["Ann", "Don't!"], ["", "Don't!"]]


def test_what_predict_must_know_is_in_preprocessing_and_makes_the_same_rows_again(tmp_path):
    path = tmp_path / "t.json"
    path.write_text(json.dumps(DIALOGUES))
    plain = make_preprocessing(TaskArguments(train_file=str(path)))
    assert (plain["speakers"], plain["special_tokens"]) == (None, [])
    how = make_preprocessing(
        TaskArguments(
            train_file=str(path),
            speaker_format="bracket",
            context="current",
            min_speaker_share=0.5,
            add_special_tokens=True,
        )
    )
    assert (how["speakers"], how["special_tokens"]) == (["Ann"], ["[Ann]"])
    assert set(how) == set(plain) == set(PREPROCESSING) - {"max_length"}
    rows = read_examples(path, json.loads(json.dumps(how)))  # as config.json gives it back
    assert [row.segments for row in rows] == [["[Ann] Don't!"], ["Why..."], ["[Ann] Go."], ["Hi"]]
    assert [row.segments[1] for row in read_examples(path, plain)] == [
        "[None]",
        "Ann : Don't!",
        "Bo : Why...",
        "[None]",
    ]


def test_lines_that_are_missing_in_a_dialogue_are_counted(tmp_path, capsys):
    path = tmp_path / "t.csv"
    lines = ["0,0,0,A,x", "1,0,9,B,y", "2,0,10,B,y", "3,1,3,A,z", "4,1,5,A,z"]
    path.write_text("\n".join(["id,i_dialog,i_utterance,speaker,utterance", *lines]), encoding="utf-8")
    assert len(read_utterances(path, repair=True)) == 5
    told = "in front of 3 rows lines of the dialogue are missing (first: row 3)"
    assert capsys.readouterr().out.startswith(f"t.csv: {told}; their context")


def test_a_dialogue_that_is_torn_apart_in_the_csv_is_refused(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("id,i_dialog,i_utterance,speaker,utterance\n0,0,0,A,x\n1,1,0,A,y\n2,0,1,A,z\n", encoding="utf-8")
    with pytest.raises(InputError, match="row 4, column i_dialog"):
        read_utterances(path, repair=True)
