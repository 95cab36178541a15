"""Folders for images and clips: of a folder per class, or of files and a table of their labels."""

import subprocess
import sys
import unicodedata

import numpy as np
import pytest
from PIL import Image

from common.console import InputError
from common.new.__main__ import parse
from common.new.build import build
from common.options.task_module import load_data_module
from common.targets import as_target
from common.targets.classes import known_rows
from tests.tools.scripts import ROOT

SIBLINGS = ("data", "faces_data", "clips_data")
TABLES = ["--labels", "labels.csv", "--target", "kind", "--test", "test.csv", "--sample", "sample.csv"]


def draw(path, number):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8, 3), 10 * number, np.uint8)).save(path)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """images/<name>.png, classes/<class>/<name>.png, clips/<name>/<frame>.png, labels.csv, in the current folder."""
    monkeypatch.chdir(tmp_path)
    lines = ["file,kind,age,tags"]
    for number in range(12):
        name = f"p{number}"
        draw(tmp_path / "images" / f"{name}.png", number)
        draw(tmp_path / "classes" / "ab"[number % 2] / f"{name}.png", number)
        for frame in range(3):
            draw(tmp_path / "clips" / name / f"{frame}.png", number)
        lines.append(f'{name},{"ab"[number % 2]},{number / 4},"{["x", "x,y", "y"][number % 3]}"')
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def make(monkeypatch, recipe, *argv):
    monkeypatch.setattr(sys, "argv", ["new", "made", "--from", recipe, *argv])
    return "\n".join(build(parse()))


def lint(source):
    """Generated code is clean by the project's own rules."""
    command = [sys.executable, "-m", "ruff", "check", "--config", str(ROOT / "pyproject.toml"), str(source)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


def module(folder, monkeypatch):
    for name in SIBLINGS:
        monkeypatch.delitem(sys.modules, name, raising=False)
    return load_data_module(folder)


@pytest.mark.parametrize(
    ("target", "labels"), [("kind", [0, 1, 0]), ("age", [0, 0.25, 0.5]), ("tags", [(1, 0), (1, 1), (0, 1)])]
)
def test_images_that_a_table_names_are_rows_with_its_labels_whatever_their_kind(files, monkeypatch, target, labels):
    said = make(monkeypatch, "reon_face", "--images", "images", "--labels", "labels.csv", "--target", target)
    assert "file: the files' names" in said
    assert (files / "made" / "data.py").read_text().count("\n") < 60
    assert (files / "made" / "train.py").read_bytes() == (ROOT / "reon_face" / "train.py").read_bytes()
    lint(files / "made" / "data.py")
    data = module(files / "made", monkeypatch)
    rows = data.read_examples(files / "made" / "data" / "labels.csv", {"label_names": None, "subject_pattern": None})
    assert [row.id for row in rows[:3]] == ["p0", "p1", "p2"]
    np.testing.assert_array_equal([rows[i].label for i in range(3)], labels)  # one by one, too: a number stays one
    np.testing.assert_array_equal(rows.labels[:3], labels)
    assert rows[:5].label_names.kind == as_target(data.LABEL_NAMES).kind
    unknown = data.read_examples(files / "images", {"label_names": None, "subject_pattern": None})
    assert [row.id for row in unknown][:3] == ["p0", "p1", "p2"]  # as the table names its files, and p2 before p10
    assert [row.id for row in unknown][-1] == "p11"
    assert not known_rows(data.LABEL_NAMES.array(unknown.labels) if target != "kind" else unknown.labels).any()
    where = files / "made" / "data" / "labels.csv"
    people = data.read_examples(where, {"label_names": None, "subject_pattern": r"p(\d)"})  # p1, p10 and p11
    assert people.has_subjects and len(set(people.groups)) == 10
    sample = data.read_examples(files / "made" / "sample" / "labels.csv", {"label_names": None})
    assert len(sample) == 20


@pytest.mark.parametrize(("recipe", "option"), [("reon_face", "--images"), ("hand_signal", "--clips")])
def test_a_folder_per_class_is_linked_and_read_as_the_recipe_does(files, monkeypatch, recipe, option):
    where = "classes"
    if recipe == "hand_signal":
        for number in range(4):
            draw(files / "shows" / "ab"[number % 2] / f"c{number}" / "0.png", number)
        where = "shows"
    make(monkeypatch, recipe, option, where)
    lint(files / "made" / "data.py")
    linked = files / "made" / "data" / option[2:]
    assert linked.is_symlink()
    data = module(files / "made", monkeypatch)
    layout = {"label_names": None, "subject_pattern": None, "group_by_number": 1}
    rows = data.read_examples(linked, layout)
    assert rows.label_names == ["a", "b"]
    assert data.METRIC == "accuracy"


@pytest.mark.parametrize(
    ("target", "argv", "labels"),
    [
        ("kind", [], [0, 1, 0]),
        ("kind", ["--order", "b,a"], [1, 0, 1]),
        ("age", [], [0, 0.25, 0.5]),
        ("tags", [], [(1, 0), (1, 1), (0, 1)]),
        ("marks", [], [(1, 0), (1, 1), (0, 1)]),
        ("x,y", [], [(1, 0), (1, 1), (0, 1)]),
    ],
)
def test_clips_that_a_table_names_are_rows_with_its_labels_whatever_their_kind(
    files, monkeypatch, target, argv, labels
):
    lines = ["file,kind,age,tags,marks,x,y"]
    for number in range(12):
        tags = ["x", "x,y", "y"][number % 3]
        shown = f'"{tags}",{tags.replace(",", ";")},{int("x" in tags)},{int("y" in tags)}.0'
        lines.append(f"p{number},{'ab'[number % 2]},{number / 4},{shown}")
    (files / "labels.csv").write_text("\n".join(lines) + "\n")
    (files / "test.csv").write_text("file\np1\np0\n")
    said = make(
        monkeypatch,
        "hand_signal",
        "--clips",
        "clips",
        "--labels",
        "labels.csv",
        "--target",
        target,
        "--test",
        "test.csv",
        *argv,
    )
    assert "target: " in said
    assert (files / "made" / "data.py").read_text().count("\n") < 60
    lint(files / "made" / "data.py")
    data = module(files / "made", monkeypatch)
    layout = {"label_names": None, "group_by_number": 1}
    rows = data.read_examples(files / "made" / "data" / "labels.csv", layout)
    assert [row.label for row in rows[:3]] == labels
    assert rows.label_names.kind == as_target(data.LABEL_NAMES).kind
    test = data.read_examples(files / "made" / "data" / "test.csv", layout)
    assert [row.id for row in test] == ["p1", "p0"]
    folder = data.read_examples(files / "clips", layout)  # as --test FOLDER
    assert folder.label_names.kind == as_target(data.LABEL_NAMES).kind and len(folder) == 12
    for unlabelled in (test, folder):
        unknown = np.array([row.label for row in unlabelled])
        assert not known_rows(as_target(data.LABEL_NAMES).array(unknown)).any()
    demo = (files / "made" / "configs" / "demo.yaml").read_text()
    assert "test_file: sample/test.csv" in demo
    ids = [row.id for row in data.read_examples(files / "made" / "sample" / "test.csv", layout)]
    sample = (files / "made" / "sample" / "sample_submission.csv").read_text().splitlines()[1:]
    assert [line.split(",")[0] for line in sample] == ids
    for name in ("tune", "final"):
        preset = (files / "made" / "configs" / f"{name}.yaml").read_text()
        assert ("mixup_alpha" in preset) <= (target == "kind" and not argv)


def test_a_sample_of_another_format_is_csv_in_the_folder_and_gives_the_order_of_the_columns(files, monkeypatch):
    (files / "sample.tsv").write_text("file\tp_b\tp_a\np0\t0.5\t0.5\n")
    argv = ["--images", "images", "--labels", "labels.csv", "--target", "kind", "--sample", "sample.tsv"]
    make(monkeypatch, "reon_face", *argv)
    assert (files / "made" / "data" / "sample_submission.csv").read_text() == "file,p_b,p_a\np0,0.5,0.5\n"
    data = module(files / "made", monkeypatch)
    assert data.LABEL_NAMES == ["a", "b"] and list(data.SUBMISSION.columns) == ["p_b", "p_a"]
    assert data.SUBMISSION.column_names(data.LABEL_NAMES) == ["p_b", "p_a"]


def test_clips_that_a_table_names_have_their_frames_and_labels(files, monkeypatch):
    make(monkeypatch, "hand_signal", "--clips", "clips", "--labels", "labels.csv", "--target", "kind")
    lint(files / "made" / "data.py")
    data = module(files / "made", monkeypatch)
    rows = data.read_examples(files / "made" / "data" / "labels.csv", {"label_names": None, "group_by_number": 1})
    assert [(row.id, row.label, len(row.frames)) for row in rows[:2]] == [("p0", 0, 3), ("p1", 1, 3)]
    assert data.submission_format(rows) is data.SUBMISSION


@pytest.mark.parametrize(
    ("recipe", "argv", "fragment"),
    [
        ("reon_face", ["--images", "nowhere"], "nowhere, expected a folder of images"),
        ("reon_face", [], "--images: is missing"),
        ("reon_face", ["--images", "images"], "images: holds 0 folders, expected one a class, or --labels"),
        ("reon_face", ["--images", "clips", "--labels", "labels.csv", "--target", "kind", "--path", "fil"], "'file'"),
        ("reon_face", ["--images", "clips", "--labels", "labels.csv", "--target", "kind"], "name it with --path"),
        ("reon_face", ["--images", "images", "--train", "labels.csv"], "--train: reon_face reads --images"),
        ("friends", ["--train", "labels.csv", "--images", "images"], "--images: is of images and clips"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_written(files, monkeypatch, recipe, argv, fragment):
    with pytest.raises(InputError) as raised:
        make(monkeypatch, recipe, *argv)
    assert fragment in str(raised.value)
    assert not (files / "made").exists()


def test_a_file_that_is_not_there_or_leads_out_of_the_folder_is_named_by_its_row(files, monkeypatch):
    argv = ["--images", "images", "--labels", "labels.csv", "--target", "kind", "--path", "file"]
    for bad, fragment in (("p99", "holds no 'p99'"), ("../labels", "expected the name of a file")):
        text = (files / "labels.csv").read_text()
        (files / "labels.csv").write_text(text + f"{bad},a,1,x\n")
        with pytest.raises(InputError, match="labels.csv, row 14, column file") as raised:
            make(monkeypatch, "reon_face", *argv)
        assert fragment in str(raised.value)
        (files / "labels.csv").write_text(text)


def test_a_file_that_two_rows_name_in_two_ways_is_refused(files, monkeypatch):
    for names, also in ((("p1", "./p1.png"), " (as 'p1', too)"), (("p1", "p1"), "")):
        (files / "labels.csv").write_text(f"file,kind\n{names[0]},a\n{names[1]},b\np2,a\n")
        with pytest.raises(InputError) as raised:
            make(monkeypatch, "reon_face", "--images", "images", "--labels", "labels.csv", "--target", "kind")
        assert f"{names[1]!r} stands in several rows{also}, expected each file once" in str(raised.value)


@pytest.mark.parametrize(("recipe", "option"), [("reon_face", "images"), ("hand_signal", "clips")])
def test_the_samples_ids_are_found_in_another_column_than_the_files_names(files, monkeypatch, recipe, option):
    (files / "test.csv").write_text("number,file\n07,p1\n03,p0\n")
    (files / "sample.csv").write_text("row,kind\n03,a\n07,a\n")
    argv = [f"--{option}", option, *TABLES]
    make(monkeypatch, recipe, *argv)
    lint(files / "made" / "data.py")
    data = module(files / "made", monkeypatch)
    layout = {"label_names": None, "group_by_number": 1}
    assert [row.id for row in data.read_examples(files / "made" / "data" / "test.csv", layout)] == ["07", "03"]
    assert data.read_examples(files / "made" / "data" / "labels.csv", layout)[0].id == "p0"
    assert data.SUBMISSION.id_column == "row"


@pytest.mark.parametrize(
    ("test", "sample", "fragment"),
    [
        ("file\np1\np77\n", "file,kind\np1,a\np77,a\n", "test.csv, row 3, column file: images holds no 'p77'"),
        ("file\np1\np2\n", "file,kind\np1,a\np3,a\n", "sample.csv, row 3, column file: id 'p3' is not in test.csv"),
        ("name\np1\n", "name,kind\np1,a\n", "test.csv, row 1: no column 'file'"),
        ("file,kind\np1,c\n", "file,kind\np1,a\n", "test.csv, row 2, column kind: 'c' is not one of the 2 labels"),
    ],
)
def test_a_test_table_that_does_not_fit_is_one_sentence(files, monkeypatch, test, sample, fragment):
    (files / "test.csv").write_text(test)
    (files / "sample.csv").write_text(sample)
    argv = ["--images", "images", *TABLES]
    with pytest.raises(InputError) as raised:
        make(monkeypatch, "reon_face", *argv)
    assert fragment in str(raised.value)
    assert not (files / "made").exists()


def open_contest(tmp_path, monkeypatch):
    """open/train/T_N.png and open/test/E_N.png, whose tables name them ./train/T_N.png and ./test/E_N.png."""
    monkeypatch.chdir(tmp_path)
    train, test = ["id,img_path,kind"], ["id,img_path"]
    for number in range(8):
        draw(tmp_path / "open" / "train" / f"T_{number}.png", number)
        draw(tmp_path / "open" / "test" / f"E_{number}.png", number)
        train.append(f"T_{number},./train/T_{number}.png,{'ab'[number % 2]}")
        test.append(f"E_{number},./test/E_{number}.png")
    (tmp_path / "labels.csv").write_text("\n".join(train) + "\n")
    (tmp_path / "test.csv").write_text("\n".join(test) + "\n")
    (tmp_path / "sample.csv").write_text("id,kind\n" + "".join(f"E_{number},a\n" for number in range(8)))


@pytest.mark.parametrize("images", ["open/train", "open/train/", "open"])
def test_tables_whose_names_start_above_the_folder_are_read_from_there(tmp_path, monkeypatch, images):
    open_contest(tmp_path, monkeypatch)
    said = make(monkeypatch, "reon_face", "--images", images, *TABLES)
    assert ("the folder above" in said) == (images != "open") and "warning" not in said
    data = module(tmp_path / "made", monkeypatch)
    layout = {"label_names": None, "subject_pattern": None}
    for name, folder in (("labels.csv", "train/T"), ("test.csv", "test/E")):
        rows = data.read_examples(tmp_path / "made" / "data" / name, layout)
        assert [row.path.rpartition("/images/")[2] for row in rows] == [f"{folder}_{n}.png" for n in range(8)]
        assert [row.id for row in rows] == [f"{folder[-1]}_{n}" for n in range(8)]


def test_test_files_that_have_a_label_are_said(files, monkeypatch):
    (files / "test.csv").write_text("file\np1\np3\n")
    said = make(monkeypatch, "reon_face", "--images", "images", *TABLES[:-2])
    assert "warning: 2 of 2 test files have a label in labels.csv (first: images/p1.png); if files of another" in said


def test_what_systems_hide_is_no_class_nor_is_an_empty_folder_and_hangul_is_composed(files, monkeypatch):
    for name in ("__MACOSX", unicodedata.normalize("NFD", "강")):
        draw(files / "classes" / name / "x.png", 1)
    (files / "classes" / "empty").mkdir()
    assert f"classes: a, b, {unicodedata.normalize('NFC', '강')}\n" in make(
        monkeypatch, "reon_face", "--images", "classes"
    )
