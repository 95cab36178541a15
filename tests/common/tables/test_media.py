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
    (tmp_path / "8").mkdir()  # no image
    assert find_file(tmp_path, "7.jpg", SUFFIXES, "t.csv").name == "7.jpg"
    assert find_file(tmp_path, "8", SUFFIXES, "t.csv").name == "8.png"
    with pytest.raises(InputError, match="row 2: '7' may be 7.png, 7.jpg; write its ending"):
        find_file(tmp_path, "7", SUFFIXES, "t.csv, row 2")
    with pytest.raises(InputError, match="holds no '9'"):
        find_file(tmp_path, "9", SUFFIXES, "t.csv, row 2")
    with pytest.raises(InputError, match="holds no 'no/9'"):
        find_file(tmp_path, "no/9", SUFFIXES, "t.csv, row 2")


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        ("7.jpg", "7.JPG"),
        ("7", "7.JPG"),
        ("8.JPEG", "8.jpeg"),
        (nfd("강/9.png"), "강/9.PNG"),
        ("images/7", "7.JPG"),
        (".\\images\\강\\9.png", "강/9.PNG"),
        ("../input/images/7.jpg", "7.JPG"),
        ("/content/images/8.jpeg", "8.jpeg"),
        ("C:\\faces\\images\\8.jpeg", "8.jpeg"),
    ],
)
def test_endings_in_another_case_and_paths_from_elsewhere_are_found(tmp_path, cell, found):
    for name in ("7.JPG", "8.jpeg", "강/9.PNG"):
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / name).touch()
    (tmp_path / "link").symlink_to("images")
    for folder in ("images", "link"):
        assert find_file(tmp_path / folder, cell, (".jpg", ".jpeg", ".png"), "t.csv") == tmp_path / folder / found


def test_a_path_through_another_folder_is_not_read_as_one_of_this(tmp_path, capsys):
    for name in ("7.png", "8.JPG", "8.jpg"):
        (tmp_path / name).touch()
    for cell in ("/content/test/7.png", "../7.png", f"/{tmp_path.name}/../7.png"):
        with pytest.raises(InputError, match="expected the name of a file"):
            find_file(tmp_path, cell, SUFFIXES, "t.csv")
    with pytest.raises(InputError, match="holds no 'test/7.png'"):
        find_file(tmp_path, "test/7.png", SUFFIXES, "t.csv")
    with pytest.raises(InputError, match="may be 8.JPG, 8.jpg|may be 8.jpg, 8.JPG"):
        find_file(tmp_path, "8", SUFFIXES, "t.csv")
    capsys.readouterr()
    for _ in range(2):
        find_file(tmp_path, f"/content/{tmp_path.name}/7.png", SUFFIXES, "t.csv")
    said = capsys.readouterr().out
    assert said.count(f"names that begin with /content/{tmp_path.name}/ are read as files of this folder") == 1


def test_a_bare_name_is_found_in_a_subfolder_where_it_is_there_once(tmp_path, capsys):
    for name in (f"a/{nfd('강')}.PNG", "b/2.png", "c/2.png", "c/d/3.png", "e/c/4.png", ".hidden/5.png", "clip/6/0.jpg"):
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / name).touch()
    folder = tmp_path / "images"
    for cell, found in (("강.png", f"a/{nfd('강')}.PNG"), ("3", "c/d/3.png"), ("c/4.png", "e/c/4.png")):
        assert find_file(folder, cell, SUFFIXES, "t.csv") == folder / found
    assert find_file(folder, "6", (".mp4",), "t.csv") == folder / "clip" / "6"  # a folder of frames
    assert capsys.readouterr().out.count("names are looked for in its subfolders, too") == 1
    with pytest.raises(InputError, match="row 2: .* holds no '2', but below it are b/2.png, c/2.png; write the folder"):
        find_file(folder, "2", SUFFIXES, "t.csv, row 2")
    for cell in ("5", "6", "b/3.png"):
        with pytest.raises(InputError, match=f"holds no '{cell}'$"):
            find_file(folder, cell, SUFFIXES, "t.csv")
    with pytest.raises(InputError, match="holds no '3'$"):
        find_file(folder, "3", SUFFIXES, "t.csv", deep=False)
