"""The Korean catalogue: it has every sentence of the code, and brings values through as they are."""

import ast
import re

import pytest

from common.console import ArgumentParser, InputError
from common.lang import read, translator
from common.lang.check import problems
from common.lang.extract import Sources, sentences
from common.lang.match import Catalogue, fill, split_template

KO = read("ko")
HANGUL = re.compile("[가-힣]")
TRANSLATE = translator("ko")
AWKWARD = [
    "가나다",
    "{0} {a}",
    "a: b",
    "",
    "(.*)[x]+\\d",
    "두\n줄",
    "[x.csv: is empty] z",
    "50%",
    "'un\"ter'",
    "no such",
]


@pytest.fixture(scope="module")
def said():
    return sentences()


def test_every_sentence_has_a_translation_and_every_translation_a_sentence():
    found = list(problems("ko"))
    assert not found, "\n".join(found)


def test_a_translation_holds_each_value_as_often_as_the_english(said):
    for english, korean in KO["sentences"].items():
        assert sorted(split_template(english)[1]) == sorted(split_template(korean)[1]), english


def test_sentences_are_korean_but_for_names():
    """What is the same in both languages has no English words but names: of works, licences, options, units, commands."""
    same = [text for text, korean in KO["sentences"].items() if text == korean]
    prose = [text for text in same if re.search(r"\b(is|are|the|not|with|expected|of)\b", text)]
    names = ("Lucy", "Hsu", "Park", "Goodfellow", "KAIST", "boostcamp", "CC ", "CC0", "Dacon")
    assert not [text for text in prose if not text.startswith(names)]
    assert len(same) < 40


def test_values_come_through_as_they_are():
    """Each template of values alone, one of them awkward, each place with every other such value. A value that holds what stands between two placeholders (a
    colon, a space) can end up divided, which text alone cannot tell: fewer than 1 in 100, and only such values."""
    divided, count = [], 0
    for english, korean in KO["sentences"].items():
        slots = split_template(english)[1]
        if any(slot.isalpha() for slot in slots):
            continue
        for one in (slot for slot in slots if slot[0] != "n"):
            for value in AWKWARD[len(english) % 2 :: 2]:
                values = {slot: "7" if slot[0] == "n" else value if slot == one else f"v{slot}" for slot in slots}
                count += 1
                if TRANSLATE(message := fill(english, values)) != fill(korean, values):
                    divided.append((value, message))
    assert not [pair for pair in divided if " " not in pair[0]]
    assert count > 3000 and len(divided) < count / 100, divided


def test_a_text_that_is_a_sentence_is_translated_in_its_place():
    message = "error: train.csv, row 5, column label: 'x' is not one of the 2 labels of data.py (nearest: 'text')"
    found = TRANSLATE(message)
    assert found.startswith("오류: train.csv, 5행, label 열: 'x'") and "(가장 가까운 것: 'text')" in found
    assert not re.search("row|column|nearest", found)


def test_a_list_of_sentences_is_translated_one_by_one():
    found = TRANSLATE("train: 12 files are left out: 9 links to nowhere, 3 .txt and 2 more endings")
    assert found == "train: 파일 12개를 읽지 않습니다: 9 끊어진 링크, 3 .txt 외에 확장자 2가지"


@pytest.mark.parametrize("label", ["no data", "fold", "rows", "is empty, really", "a b", "epoch 1"])
def test_labels_in_a_list_are_no_sentences(label):
    assert f"fear, {label}, joy" in TRANSLATE(f"runs/a: the model's labels are fear, {label}, joy, expected x")


@pytest.mark.parametrize(
    "message", ["", "nothing of ours", "\x1b[31m", "{", "{0}", "a" * 5000, ", " * 400, ": ".join("abcdefgh" * 9)]
)
def test_what_is_not_known_stays_as_it_is(message):
    assert TRANSLATE(message) == message


def test_what_to_do_for_files_behind_a_login_is_a_korean_sentence():
    why = " (the kaggle package, which would fetch it, is not installed)"
    put = "put a.csv, or the archive that has them, into friends/data"
    said = translator("ko")(f"  needs a login{why}: https://page asks for the competition's rules; then {put}")
    assert "(대신 받아 줄 kaggle 패키지가 설치되어 있지 않습니다):" in said and said.endswith("friends/data에 넣으세요")


def test_particles_follow_the_sound_of_a_value():
    catalogue = Catalogue({"a {0}": "{0}은(는) {0}을(를) {0}(으)로"}, {})
    heard = {"책": "책은 책을 책으로", "나무": "나무는 나무를 나무로", "길": "길은 길을 길로", "3": "3은 3을 3으로"}
    heard |= {"x": "x은(는) x을(를) x(으)로", "'나무'": "'나무'는 '나무'를 '나무'로"}
    heard |= {"0.3%": "0.3%는 0.3%를 0.3%로"}
    assert {value: re.sub("a ", "", catalogue.translate(f"a {value}")) for value in heard} == heard


CODE = """
from common.console import InputError, print_once

def where(path, row):
    return f"{path} at place {row}"

class Table:
    def check(self, path):
        what = "holds brand new trouble" if path else "has none"
        if path:
            why = {"a": "of a first kind"}
            raise InputError(f"{where(path, 3)}: {what} {why['a']}, {len(path)} times")
        print_once(" and ".join([self.note()]))

    def note(self):
        return "a note with words"
"""


def test_a_new_sentence_is_found_with_the_text_that_it_is_made_of(tmp_path):
    path = tmp_path / "new.py"
    path.write_text(CODE)
    ast.parse(CODE)
    found = Sources([path], tmp_path).said()
    expected = {"{0} at place {1}", "holds brand new trouble", "has none", "of a first kind", "a note with words"}
    assert found.keys() == expected | {"{a}: {b} {c}, {n0} times"}
    assert found["{a}: {b} {c}, {n0} times"].places == ["new.py:12"]


def test_the_sentences_of_all_folders_are_found(said):
    folders = {place.split("/")[0] for one in said.values() for place in one.places}
    assert {"common", "friends", "nsmc", "klue_re", "hand_signal", "reon_face"} <= folders
    assert len(said) > 1200


def test_what_argparse_says_is_translated():
    parser = ArgumentParser("x", "")
    parser.add_argument("place")
    parser.add_argument("--number", type=int)
    parser.add_argument("--kind", choices=["a", "b"])
    parser.add_argument("--many", nargs="+")
    parser.add_argument("--switch", action="store_true")
    lines = ["", "x --number", "x --number z", "x --kind c", "x --many", "x --other", "x --switch=1"]
    for line in lines:
        with pytest.raises(InputError) as error:
            parser.parse_args(line.split())
        found = TRANSLATE(f"error: {error.value}")
        assert HANGUL.search(found) and not re.search("expected|invalid|required|unrecognized|argument|ignored", found)
