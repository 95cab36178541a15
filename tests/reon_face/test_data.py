"""reon_face/data.py, faces.py, crop.py and images.py: layouts, groups, the geometry of a crop, shards that a kill does
not change."""

import json
import math
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
import unicodedata
import zlib
from pathlib import Path
from types import SimpleNamespace

import cv2
import datasets
import numpy as np
import onnx
import pyarrow
import pyarrow.parquet as parquet
import pytest
from PIL import Image

from common.console import InputError
from common.logits import Logits
from common.tricks.groups import join_groups
from reon_face import data
from reon_face.data import SUBMISSION, Faces, ranks, read_examples
from reon_face.faces import Face, choose_face, crop_face, load_detector, moved
from reon_face.images import FaceBatchSampler, check_images, open_image, say_mixture, say_sides, to_dataset
from reon_face.sample.draw import draw_face, draw_frame
from tests.tools.faces import TASK, assert_raised, script_of
from tests.tools.scripts import ENVIRONMENT

CROP = TASK / "crop.py"
ROWS_PER_GROUP = 256
PERSON = "0cb3d5e25825"
script = script_of("crop")


def write_image(path, seed=0, size=(12, 16), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (*size, 3)).astype(np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)
    return path


def read(folder, label_names=None, subject_pattern=None):
    return read_examples(folder, {"label_names": label_names, "subject_pattern": subject_pattern})


def crop(*argv, code=0, num_workers=1):
    command = [sys.executable, CROP, *map(str, argv), "--num_workers", str(num_workers)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert result.returncode == code, result.stderr
    return result


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """Labelled frames of four people, one that is broken, one without a face, and a large JPEG."""
    folder = tmp_path_factory.mktemp("frames")
    for label in ("happy", "sad"):
        for subject in range(4):
            (folder / label).mkdir(exist_ok=True)
            image = draw_frame(subject, label, 1.0, 144, 192, np.random.default_rng(subject))
            cv2.imwrite(str(folder / label / f"s{subject}_0.png"), image)
    (folder / "sad" / "s9_0.jpg").write_bytes(b"\xff\xd8 not an image")
    cv2.imwrite(str(folder / "sad" / "s8_0.png"), np.full((60, 60, 3), 90, np.uint8))
    cv2.imwrite(str(folder / "happy" / "s5_0.jpg"), cv2.resize(draw_face(5, "happy", 1.0, 300), (2600, 2600)))
    return folder


@pytest.fixture(scope="module")
def shards(frames, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards") / "crops"
    crop(
        "--input",
        frames,
        "--output_dir",
        folder,
        "--size",
        "48",
        "--sources_per_shard",
        "4",
        "--subject_pattern",
        r"s(\d+)_",
    )
    return folder


# Layouts


def test_folders_of_labels_take_turns_so_that_the_first_rows_hold_every_label(tmp_path):
    for name in ("angry/a2.png", "angry/a10.png", "happy/b.jpg", "happy/deeper/c.png"):
        write_image(tmp_path / name, len(name))
    (tmp_path / "angry" / "notes.txt").write_text("no image")
    rows = read(tmp_path)
    assert rows.label_names == rows[:2].label_names == ["angry", "happy"]
    assert [(row.id, row.label) for row in rows] == [
        ("angry/a2.png", 0),
        ("happy/b.jpg", 1),
        ("angry/a10.png", 0),
        ("happy/deeper/c.png", 1),
    ]
    flat = read(tmp_path / "angry", rows.label_names)
    assert [(row.id, row.label) for row in flat] == [("a2.png", -1), ("a10.png", -1)]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_aihub_names_say_label_and_person(form, tmp_path):
    name = f"[원천]EMOIMG_기쁨_TRAIN_01/{PERSON}_여_20_기쁨_숙박 및 거주공간_20210126165538-010-011.jpg"
    flat = f"{PERSON}_남_30_슬픔_도심 환경_20210126165538-010-012.jpg"
    other = "[원천]EMOIMG_분노_TRAIN_01/aaa_남_30_분노_도심 환경_20210126165538-010-012.jpg"
    for number, path in enumerate((name, f"[원천]EMOIMG_슬픔_TRAIN_02/{flat}", other)):
        write_image(tmp_path / unicodedata.normalize(form, path), number)
    rows = read(tmp_path)
    names = rows.label_names
    assert names == ["기쁨", "분노", "슬픔"]
    group = {names[row.label]: row.group for row in rows}
    assert group["기쁨"] == group["슬픔"] != group["분노"]
    alone = read(tmp_path / unicodedata.normalize(form, "[원천]EMOIMG_슬픔_TRAIN_02"), names)
    assert names[alone[0].label] == "슬픔"


def test_linked_folders_are_read_hidden_ones_are_not_and_splits_are_no_labels(tmp_path):
    write_image(tmp_path / "elsewhere" / "b.png", 1)
    write_image(tmp_path / "data" / "train" / "happy" / "a.png", 2)
    write_image(tmp_path / "data" / "train" / "happy" / ".ipynb_checkpoints" / "a.png", 2)
    (tmp_path / "data" / "train" / "sad").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "train" / "sad" / "loop").symlink_to(tmp_path / "data" / "train")
    assert [row.id for row in read(tmp_path / "data" / "train")] == ["happy/a.png", "sad/b.png"]
    write_image(tmp_path / "data" / "test" / "happy" / "c.png", 3)
    with pytest.raises(InputError, match="its folders are test, train, expected labels"):
        read(tmp_path / "data")


def test_a_name_that_is_not_utf8_is_named(tmp_path):
    write_image(tmp_path / "a.png")
    (tmp_path / "a.png").rename(os.fsdecode(bytes(tmp_path) + b"/\xb1\xe2\xbb\xda.png"))
    with pytest.raises(InputError, match=r"udcb1.*its name is not UTF-8"):
        read(tmp_path)


@pytest.mark.parametrize("label", ["Id", "Predicted"])
def test_a_label_with_the_name_of_another_column_of_the_submission_is_refused(label, tmp_path):
    for name in (label, "happy"):
        write_image(tmp_path / name / "a.png", len(name))
    with pytest.raises(InputError, match=f"another column of the submission has the name of the label {label}"):
        read(tmp_path)


def test_images_are_read_for_their_groups_only_when_groups_are_asked_for(tmp_path, monkeypatch):
    write_image(tmp_path / "a.png")
    write_image(tmp_path / "b.png")
    asked = []
    monkeypatch.setattr(data, "sha256", lambda path: asked.append(path) or "the same")
    rows = read(tmp_path, ["happy"])
    assert [row.id for row in rows[:2]] == ["a.png", "b.png"] and not asked
    assert rows[:1].groups.tolist() == [rows[1].group] and len(asked) == 2


def test_the_same_person_and_the_same_image_are_one_group_along_the_chain(tmp_path):
    for name, seed in {"a/s1_0.png": 0, "a/s1_1.png": 1, "b/s2_0.png": 1, "b/s2_1.png": 2, "b/s3_0.png": 3}.items():
        write_image(tmp_path / name, seed)
    groups = {row.id: row.group for row in read(tmp_path)}
    assert (
        groups["a/s1_1.png"] == groups["b/s2_0.png"] and len(set(groups.values())) == 4
    )  # no person is known: only the copies
    groups = {row.id: row.group for row in read(tmp_path, subject_pattern=r"s(\d+)_")}
    assert groups["a/s1_0.png"] == groups["b/s2_1.png"] != groups["b/s3_0.png"]


def test_how_many_images_have_no_person_is_said_and_crops_without_any_person_are_refused(tmp_path, capsys):
    for number, name in enumerate(("s1_0", "s1_1", "s2_0", "nobody")):
        write_image(tmp_path / "in" / "a" / f"{name}.png", number)
    options = ["--input", tmp_path / "in", "--detector", "none", "--size", "16", "--output_dir", tmp_path / "crops"]
    assert "matches none of 4 paths" in crop(*options, "--subject_pattern", r"person(\d+)", code=2).stderr
    crop(*options)
    for folder in ("in", "crops"):
        capsys.readouterr()
        assert not read(tmp_path / folder, subject_pattern=r"person(\d+)").has_subjects
        assert "matches 0 of 4 paths (not a/" in capsys.readouterr().out
        assert not read(tmp_path / folder, ["a"], subject_pattern=r"person(\d+)").has_subjects
        assert "matches" not in capsys.readouterr().out  # of rows that are not split
        assert len(set(read(tmp_path / folder, subject_pattern=r"s(\d+)_").groups)) == 3
        assert "matches 3 of 4 paths (not a/nobody.png)" in capsys.readouterr().out


def test_groups_do_not_depend_on_the_order_of_the_rows():
    keys = [("p", "1"), ("q", "2"), (None, "2"), ("q", "3"), ("r", "1"), (None, "4")]
    for order in (keys, keys[::-1]):
        people, images = zip(*order, strict=True)
        of = dict(zip(order, join_groups(ranks(people), ranks(images)), strict=True))
        assert of["p", "1"] == of["r", "1"] and of["q", "2"] == of[None, "2"] == of["q", "3"]
        assert len(set(of.values())) == 3


def test_a_grey_image_becomes_rgb(tmp_path):
    path = write_image(tmp_path / "grey.png", mode="L")
    image = np.array(open_image(str(path), -1))
    assert image.shape == (12, 16, 3) and (image[..., 0] == image[..., 2]).all()


def test_a_photograph_that_was_taken_sideways_is_upright_for_training_and_for_crops(tmp_path):
    upright = np.zeros((2000, 1400, 3), np.uint8)
    upright[:700] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees
    (tmp_path / "images").mkdir()
    Image.fromarray(np.rot90(upright)).save(tmp_path / "images" / "p.jpg", exif=exif)
    assert np.array(open_image(str(tmp_path / "images" / "p.jpg"), -1).resize((14, 20)))[
        :, 7, 0
    ].tolist() == pytest.approx([255] * 7 + [0] * 13, abs=40)
    crop("--input", tmp_path / "images", "--output_dir", tmp_path / "crops", "--detector", "none", "--size", "20")
    row = read(tmp_path / "crops")[0]
    assert np.array(open_image(row.path, row.row))[:, 10, 0].tolist() == pytest.approx([255] * 7 + [0] * 13, abs=40)


@pytest.mark.parametrize("damage", ["text", "truncated"])
def test_a_broken_image_is_named_before_anything_is_trained(damage, tmp_path):
    good, bad = write_image(tmp_path / "a.png"), tmp_path / "b.png"
    bad.write_bytes(b"no image" if damage == "text" else good.read_bytes()[:-100])
    with pytest.raises(InputError, match="b.png: cannot be decoded"):
        check_images(read(tmp_path), None)


def test_the_submission_has_the_label_and_probabilities():
    logits = Logits(["1.png"], [[0.0, 2.0]], [-1], ["sad", "happy"])
    assert SUBMISSION.id_column == "Id"
    assert SUBMISSION.cells(logits) == {"Predicted": ["happy"], "sad": ["0.11920292"], "happy": ["0.88079708"]}


# Faces


def reference_crop(image, face, size, padding):
    """What the docstring of faces.py says, sample by sample."""
    x1, y1, x2, y2 = face.box
    side = max(x2 - x1, y2 - y1) * (1 + 2 * padding)
    k = max(1, math.ceil(side / size))
    angle = 0.0
    if face.landmarks is not None:
        (left_x, left_y), (right_x, right_y) = face.landmarks[:2]
        angle = math.atan2(right_y - left_y, right_x - left_x)
    grid = ((np.arange(size * k) + 0.5) / (size * k) - 0.5) * side
    u, v = np.meshgrid(grid, grid)
    x = (x1 + x2) / 2 + u * math.cos(angle) - v * math.sin(angle) - 0.5
    y = (y1 + y2) / 2 + u * math.sin(angle) + v * math.cos(angle) - 0.5
    fx, fy = (x - np.floor(x))[..., None], (y - np.floor(y))[..., None]

    def pixel(dx, dy):
        columns = np.clip(np.floor(x).astype(int) + dx, 0, image.shape[1] - 1)
        return image[np.clip(np.floor(y).astype(int) + dy, 0, image.shape[0] - 1), columns].astype(float)

    samples = (pixel(0, 0) * (1 - fx) + pixel(1, 0) * fx) * (1 - fy) + (pixel(0, 1) * (1 - fx) + pixel(1, 1) * fx) * fy
    return samples.reshape(size, k, size, k, 3).mean(axis=(1, 3))


@pytest.mark.parametrize("size", [24, 100], ids=["reduced", "enlarged"])
@pytest.mark.parametrize("turned", [False, True])
def test_a_crop_is_what_the_documented_formula_says_also_beyond_the_border(size, turned):
    image = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (80, 120, 3)).astype(np.uint8), (0, 0), 2)
    eyes = np.array([[10, 50], [40, 60], [25, 60], [15, 70], [35, 75]], np.float32)
    face = Face((-5.0, 30.0, 60.5, 90.0), 1.0, eyes if turned else None)
    got = crop_face(image, face, size, 0.1, align=True)
    assert got.dtype == np.uint8 and np.abs(got - reference_crop(image, face, size, 0.1)).max() < 1.5
    level = crop_face(image, face, size, 0.1, align=False)
    assert np.array_equal(got, level) != turned


def test_the_largest_the_most_central_and_the_same_face_as_before_are_chosen():
    large, central = Face((0, 0, 40, 40), 0.1), Face((45, 45, 55, 55), 0.9)
    assert choose_face([central, large], 100, 100) is large
    assert choose_face([large, central], 100, 100, "central") is central
    assert choose_face([large, central], 100, 100, previous=Face((46, 46, 56, 56), 1.0)) is central
    assert choose_face([large, central], 100, 100, previous=Face((80, 80, 90, 90), 1.0)) is large
    assert choose_face([], 100, 100) is None


def test_haar_finds_a_drawn_face_where_it_is_and_none_is_the_whole_frame():
    face = draw_face(2, "happy", 1.0, 160)
    frame = np.full((200, 400, 3), face[0, 0], np.uint8)
    frame[20:180, 220:380] = face
    large = cv2.resize(frame, None, fx=4, fy=4)
    for image, scale in ((frame, 1), (large, 4)):
        found = choose_face(load_detector("haar")(image), *image.shape[:2])
        x1, y1, x2, y2 = (value / scale for value in found.box)
        assert 230 < x1 < 280 and 320 < x2 < 370 and 40 < y1 < 80 and 110 < y2 < 160
    assert load_detector("haar")(np.full((100, 100, 3), 80, np.uint8)) == []
    assert [face.box for face in load_detector("none")(frame)] == [(0, 0, 400, 200)]


def test_a_box_is_moved_by_shares_of_itself_and_grows_about_its_centre():
    face = Face((10, 20, 30, 60), 0.5)
    assert moved(face, 0, 0, 1).box == face.box
    assert moved(face, 0.5, -0.25, 1).box == (20, 10, 40, 50)
    assert moved(face, 0, 0, 1.5).box == (5, 10, 35, 70) and moved(face, 0, 0, 1.5).score == 0.5


# Crops


def test_crops_are_rows_with_a_manifest_and_what_is_not_there_is_listed(shards, frames):
    record = json.loads((shards / "crop.json").read_text())
    rows = read(shards)
    assert rows.label_names == ["happy", "sad"] and record["rows"] == len(rows)
    assert record["no_face"] == ["sad/s8_0.png"] and list(record["broken"]) == ["sad/s9_0.jpg"]
    assert len(rows) + 2 == record["sources"] == 11
    by_id = {row.id: row for row in rows}
    assert by_id["happy/s1_0.png"].group == by_id["sad/s1_0.png"].group != by_id["sad/s2_0.png"].group
    assert open_image(rows[0].path, rows[0].row).size == (48, 48)
    assert rows.face_crop == {"detector": "haar", "choose": "largest", "padding": 0.1, "align": True}
    assert read(frames).face_crop is None


def test_shards_that_were_cropped_otherwise_are_said(shards, frames, capsys):
    rows = read(shards)
    for other, warned in ((rows.face_crop, False), (None, False), ({**rows.face_crop, "padding": 0.3}, True)):
        check_images(rows, other)
        printed = capsys.readouterr().out
        assert (f"warning: {shards} was cropped with " in printed) == warned
        assert f"{shards.name}: {len(rows)} images, labels happy, sad" in printed


def test_crops_beside_images_as_they_are_are_said(shards, frames, capsys):
    crops, images = read(shards), read(frames)
    say_mixture({"train": crops, "eval": crops})
    say_mixture({"train": images, "test": images})
    assert capsys.readouterr().out == ""
    for examples in ({"train": crops, "test": images}, {"train": images, "eval": crops}):
        say_mixture(examples)
        assert f"warning: {shards} holds crops of crop.py, {frames} images as they are" in capsys.readouterr().out


def test_labels_that_are_each_others_mirror_image_are_said_where_images_are_mirrored(capsys):
    for names, pair in (
        (["Turn_Left", "stop", "turn_right"], "Turn_Left and turn_right"),
        (["우회전", "좌회전"], "좌"),
    ):
        say_sides(names, SimpleNamespace(horizontal_flip=0.5, test_time_flip=False))
        assert f"warning: the labels {pair}" in capsys.readouterr().out
        say_sides(names, SimpleNamespace(horizontal_flip=0.0, test_time_flip=True))
        assert f"warning: the labels {pair}" in capsys.readouterr().out
    say_sides(["left", "right"], SimpleNamespace(horizontal_flip=0.0, test_time_flip=False))
    say_sides(["left", "right_hand", "bright", "happy"], SimpleNamespace(horizontal_flip=0.5, test_time_flip=True))
    assert capsys.readouterr().out == ""


def test_of_shards_only_labels_and_groups_are_in_memory(shards):
    rows = read(shards)
    (listing,) = {file["filename"] for file in rows.rows.cache_files}  # mapped into memory by datasets
    with pyarrow.ipc.open_stream(listing) as reader:
        assert reader.read_all()["id"].to_pylist() == [row.id for row in rows]
    assert [rows[i] for i in range(len(rows))] == list(rows)
    assert list(rows[2:5]) == list(rows)[2:5] and len(rows[:4]) == 4
    shards_of = [row.path for row in rows]
    assert list(to_dataset(rows)["row_group"]) == [
        sorted(set(shards_of)).index(path) for path in shards_of
    ]  # each has one


def test_datasets_streams_the_shards(shards):
    files = [str(path) for path in sorted(shards.glob("*.parquet"))]
    rows = list(datasets.load_dataset("parquet", data_files=files, split="train", streaming=True))
    assert sorted(row["id"] for row in rows) == sorted(row.id for row in read(shards))
    large = next(row for row in rows if row["id"] == "happy/s5_0.jpg")
    assert (
        large["image"].size == (48, 48) and 1300 < max(large["box"]) <= 2600
    )  # in pixels of the source, which was decoded at a quarter
    assert all(len(row["sha256"]) == 64 and row["score"] > 0 for row in rows)


@pytest.mark.slow
def test_a_crop_that_was_killed_goes_on_in_two_processes_to_the_same_bytes_and_other_options_are_refused(
    shards, frames, tmp_path
):
    options = ["--input", frames, "--output_dir", tmp_path / "crops", "--size", "48", "--sources_per_shard", "4"]
    options += ["--subject_pattern", r"s(\d+)_"]
    process = subprocess.Popen(
        [sys.executable, CROP, *map(str, options), "--num_workers", "1"], stdout=subprocess.DEVNULL, env=ENVIRONMENT
    )
    while not (tmp_path / "crops" / "shard-00000.json").exists() and process.poll() is None:
        time.sleep(0.005)
    process.kill()
    process.wait()
    first = tmp_path / "crops" / "shard-00000.parquet"
    written = first.stat().st_mtime_ns
    crop(*options, num_workers=2)
    for path in shards.glob("shard-*"):
        assert (tmp_path / "crops" / path.name).read_bytes() == path.read_bytes()
    assert first.stat().st_mtime_ns == written  # and finished shards are not made again
    assert "was made with size 48, now it is 64" in crop(*options, "--size", "64", code=2).stderr
    others = shutil.copytree(frames, tmp_path / "others")  # other pictures under the same names
    picture = next(path for path in sorted(others.rglob("*.jpg")))
    picture.write_bytes(picture.read_bytes() + b"0")
    assert "was made with sources_sha256" in crop(*options, "--input", others, code=2).stderr


def test_a_shard_that_was_deleted_is_made_again(frames, tmp_path):
    options = [
        "--input",
        frames,
        "--output_dir",
        tmp_path / "crops",
        "--size",
        "32",
        "--sources_per_shard",
        "4",
        "--detector",
        "none",
    ]
    crop(*options)
    shard = tmp_path / "crops" / "shard-00001.parquet"
    content = shard.read_bytes()
    shard.unlink()
    (tmp_path / "crops" / ".shard-00001.parquet.1.tmp").touch()  # of a start that was killed
    crop(*options)
    assert shard.read_bytes() == content and not list((tmp_path / "crops").glob(".*"))


@pytest.mark.skipif(not Path("/proc").exists(), reason="needs /proc")
def test_a_process_that_is_killed_ends_the_pass_with_a_sentence(tmp_path):
    for number in range(120):
        write_image(tmp_path / "in" / f"{number}.png", number, (400, 400))
    options = [
        "--input",
        tmp_path / "in",
        "--output_dir",
        tmp_path / "crops",
        "--detector",
        "none",
        "--sources_per_shard",
        "60",
    ]
    command = [sys.executable, CROP, *map(str, options), "--num_workers", "2"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, env=ENVIRONMENT)
    children = []
    while len(children) < 2 and process.poll() is None:
        time.sleep(0.05)
        started = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        children = [child for child in started if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]
    os.kill(int(children[0]), signal.SIGKILL)
    errors = process.communicate(timeout=60)[1].decode()
    assert process.returncode == 2 and "error: a process was killed" in errors and "Traceback" not in errors
    crop(*options)  # goes on


def test_an_image_that_opencv_refuses_is_listed(tmp_path):
    header = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)  # more pixels than OpenCV decodes
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "huge.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + b"\0" * 100)
    write_image(tmp_path / "in" / "a.png")
    crop("--input", tmp_path / "in", "--output_dir", tmp_path / "crops", "--detector", "none")
    record = json.loads((tmp_path / "crops" / "crop.json").read_text())
    assert list(record["broken"]) == ["huge.png"] and record["rows"] == 1


def test_shards_know_the_people_that_the_images_know(tmp_path):
    for number, name in enumerate(("김사람_0", "김사람_1", "이사람_0", "이사람_1")):
        write_image(tmp_path / "in" / f"{unicodedata.normalize('NFD', name)}.png", number)
    crop("--input", tmp_path / "in", "--output_dir", tmp_path / "crops", "--detector", "none", "--size", "16")
    for folder in ("in", "crops"):
        rows = read(tmp_path / folder, subject_pattern="([김이]사람)_")
        assert rows.has_subjects and len(set(rows.groups)) == 2, folder


def test_a_shard_with_other_labels_than_its_record_is_refused(shards, tmp_path):
    copy = shutil.copytree(shards, tmp_path / "copy")
    record = json.loads((copy / "crop.json").read_text())
    (copy / "crop.json").write_text(json.dumps(record | {"label_names": ["happy", "angry"]}))
    with pytest.raises(InputError, match=r"shard-00000.parquet: sad is not one of the labels in crop.json"):
        read(copy)
    (copy / "crop.json").write_text(json.dumps({"status": "done"}))
    with pytest.raises(InputError, match=r"crop.json: has no face_crop"):
        read(copy)


def test_a_broken_link_is_no_source(tmp_path):
    (tmp_path / "in").mkdir()
    cv2.imwrite(str(tmp_path / "in" / "a.png"), draw_face(2, "happy", 1.0, 160))
    (tmp_path / "in" / "link.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "in" / "folder.png").mkdir()
    crop("--input", tmp_path / "in", "--output_dir", tmp_path / "crops", "--size", "32")
    record = json.loads((tmp_path / "crops" / "crop.json").read_text())
    assert record["sources"] == record["rows"] == 1 and record["broken"] == {}


def test_frames_of_a_video_are_cropped_and_stay_in_one_group(tmp_path):
    writer = cv2.VideoWriter(str(tmp_path / "v.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 8, (200, 160))
    for k in range(6):
        frame = np.full((160, 200, 3), 120, np.uint8)
        frame[:, 5 * k : 5 * k + 160] = draw_face(2, "happy", k / 5, 160)
        writer.write(frame)
    writer.release()
    (tmp_path / "cut.mp4").write_bytes((tmp_path / "v.mp4").read_bytes()[:300])
    crop("--input", tmp_path, "--output_dir", tmp_path / "crops", "--every", "2", "--size", "32")
    rows = read(tmp_path / "crops")
    assert [row.id for row in rows] == ["v.mp4#0", "v.mp4#2", "v.mp4#4"] and len({row.group for row in rows}) == 1
    assert read(tmp_path / "crops", subject_pattern=r"(\w+)\.mp4$").has_subjects  # of the path, not of a frame's id
    record = json.loads((tmp_path / "crops" / "crop.json").read_text())
    assert list(record["broken"]) == ["cut.mp4"] and record["sources_per_shard"] == 8  # a video's faces are many


def test_a_video_that_breaks_off_is_listed_and_its_frames_are_kept(tmp_path):
    (tmp_path / "in").mkdir()
    writer = cv2.VideoWriter(str(tmp_path / "v.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 8, (200, 160))
    for _ in range(20):
        frame = np.full((160, 200, 3), 120, np.uint8)
        frame[:, 20:180] = draw_face(2, "happy", 1.0, 160)
        writer.write(frame)
    writer.release()
    whole = (tmp_path / "v.avi").read_bytes()
    (tmp_path / "in" / "v.avi").write_bytes(whole[: len(whole) // 2])
    crop("--input", tmp_path / "in", "--output_dir", tmp_path / "crops", "--size", "32")
    record = json.loads((tmp_path / "crops" / "crop.json").read_text())
    assert "of 20 frames can be decoded" in record["broken"]["v.avi"] and 5 <= record["rows"] < 15


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--detector", "mtcnn"], "detector: 'mtcnn' is not haar, none or YuNet's .onnx file"),
        (["--detector", "missing.onnx"], "missing.onnx: no such file"),
        (["--size", "0"], "size: 0 is not between 16 and 2048"),
        (["--subject_pattern", "(a)(b)"], "has 2 groups, expected one"),
        (["--subject_pattern", "("], "is not a regular expression"),
        (["--padding", "-1"], "padding: -1.0 is not between 0 and 2"),
        (["--output_dir", "FRAMES"], "is not empty and holds no crop.json"),
    ],
)
def test_options_that_cannot_work_are_refused(options, message, script, frames, tmp_path):
    options = [str(frames) if option == "FRAMES" else option for option in options]
    argv = ["--input", str(frames), "--output_dir", str(tmp_path / "crops"), *options]
    assert_raised(lambda: script.main(script.parse_args(argv)), tmp_path, [message])


def test_crop_py_says_so_in_one_line_and_ends_with_exit_code_2(frames, tmp_path):
    result = crop("--input", frames, "--output_dir", tmp_path / "crops", "--detector", "mtcnn", code=2)
    assert result.stderr.startswith("error: detector: 'mtcnn'") and len(result.stderr.splitlines()) == 1


def test_yunets_file_that_is_none_is_refused(tmp_path):
    (tmp_path / "yunet.onnx").write_bytes(b"no model")
    with pytest.raises(InputError, match="is not a YuNet"):
        load_detector(str(tmp_path / "yunet.onnx"))
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3, 320, 320])
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["x"], ["y"])], "other", [value], [onnx.ValueInfoProto(name="y")]
    )
    onnx.save(onnx.helper.make_model(graph), tmp_path / "other.onnx")
    with pytest.raises(InputError, match="is not a YuNet"):
        load_detector(str(tmp_path / "other.onnx"))


# Order


def test_rows_of_a_shard_are_found_whatever_its_row_groups(tmp_path):
    faces = [cv2.imencode(".png", np.full((4, 4, 3), value, np.uint8))[1].tobytes() for value in range(11)]
    shard = str(tmp_path / "shard.parquet")
    parquet.write_table(pyarrow.table({"image": [{"bytes": face} for face in faces]}), shard, row_group_size=4)
    assert [np.asarray(open_image(shard, row))[0, 0, 0] for row in (10, 0, 3, 4, 8)] == [10, 0, 3, 4, 8]


def placed(row_groups):
    """Faces of one label at these row groups."""
    n = len(row_groups)
    rows = datasets.Dataset.from_dict(
        {"id": [str(i) for i in range(n)], "path": [""] * n, "row": [-1] * n, "row_group": row_groups}
    )
    return Faces(rows, np.zeros(n, dtype=np.int64), ["face"], Path(), lambda: np.arange(n))


def test_batches_of_shards_hold_every_row_once_and_few_row_groups_at_a_time():
    n, groups = 20 * ROWS_PER_GROUP, 20
    rows = to_dataset(placed([i // ROWS_PER_GROUP for i in range(n)]))
    sampler = FaceBatchSampler(rows, 64, seed=1, shuffle_rows=4 * ROWS_PER_GROUP)
    batches = list(sampler)
    assert sorted(i for batch in batches for i in batch) == list(range(n)) and len(batches) == len(sampler)
    touched = [
        len({i // ROWS_PER_GROUP for batch in batches[k : k + 16] for i in batch}) for k in range(0, len(batches), 16)
    ]
    assert max(touched) <= 4 < groups
    sampler.epoch = 1
    assert list(sampler) != batches
    sampler.epoch = 0
    assert list(sampler) == batches


def test_files_are_shuffled_all_and_two_processes_share_each_effective_batch():
    rows = to_dataset(placed([-1] * 100))
    one = list(FaceBatchSampler(rows, 20, seed=3, shuffle_rows=10))
    two = [list(FaceBatchSampler(rows, 10, seed=3, shuffle_rows=10, rank=rank, world_size=2)) for rank in (0, 1)]
    assert [sorted(a + b) for a, b in zip(*two, strict=True)] == [sorted(batch) for batch in one]
    assert max(one[0]) - min(one[0]) > 40
