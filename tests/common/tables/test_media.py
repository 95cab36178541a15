"""Files that a table names."""

import unicodedata

import pytest

from common.console import InputError
from common.tables.media import find_file

SUFFIXES = (".png", ".jpg")


def nfd(text):
    return unicodedata.normalize("NFD", text)


def test_a_name_is_found_in_both_unicode_forms_with_and_without_its_ending(tmp_path):
    for folder, name in ((nfd("사진"), nfd("강.png")), ("그림", "강.jpg")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).touch()
    for cell, found in (
        ("사진/강.png", nfd("사진/강.png")),
        ("사진/강", nfd("사진/강.png")),
        (nfd("그림/강"), "그림/강.jpg"),
    ):
        assert find_file(tmp_path, cell, SUFFIXES, "t.csv").samefile(tmp_path / found)


def test_a_name_without_an_ending_that_two_files_have_is_refused(tmp_path):
    for name in ("7.png", "7.jpg", "8.png"):
        (tmp_path / name).touch()
    assert find_file(tmp_path, "7.jpg", SUFFIXES, "t.csv").name == "7.jpg"
    assert find_file(tmp_path, "8", SUFFIXES, "t.csv").name == "8.png"
    with pytest.raises(InputError, match="row 2: '7' may be 7.png, 7.jpg; write its ending"):
        find_file(tmp_path, "7", SUFFIXES, "t.csv, row 2")
    with pytest.raises(InputError, match="holds no '9'"):
        find_file(tmp_path, "9", SUFFIXES, "t.csv, row 2")
    with pytest.raises(InputError, match="holds no 'no/9'"):
        find_file(tmp_path, "no/9", SUFFIXES, "t.csv, row 2")
