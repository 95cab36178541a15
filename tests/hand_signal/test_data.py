"""hand_signal/data.py, decode.py and clips.py: both layouts, the frames that are asked for and no others, the same
change for all frames of a clip."""

import os
import struct
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from accelerate import Accelerator
from PIL import Image

from common.console import InputError
from common.logits import Logits
from hand_signal import clips, decode
from hand_signal.clips import Augmentation, ClipDataset, Preprocessing, square_crops
from hand_signal.data import ClipExample, flip_map, read_examples, submission_format
from hand_signal.decode import find_broken, read_frames
from hand_signal.frames import choose_frames, prepare_frames
from hand_signal.upscaling import check_upscale, super_resolution
from tests.tools.scripts import ROOT
from tests.tools.videos import (
    BROKEN,
    STEP,
    grey,
    moving_square,
    numbers_of,
    write_broken,
    write_clip,
    write_competition,
)

TASK = ROOT / "hand_signal"
PLAIN = Preprocessing(4, 0, 32, [0.0] * 3, [1.0] * 3, person_box=True, upscale="none", num_clips=1, num_crops=1)
OFF = Augmentation(min_crop_scale=1.0, color_jitter=0.0, flip_map=None)


def read(path, label_names=None, group_by_number=1):
    return read_examples(path, {"label_names": label_names, "group_by_number": group_by_number})


# Layouts


def test_the_competitions_layout_gives_ids_labels_boxes_and_frames_in_the_order_of_their_numbers(tmp_path):
    boxes = [["10", "5", "30", "40"], ["12", "4", "33", "39.5"]]
    write_competition(tmp_path / "train", [1, 0, *[1] * 9], boxes)
    rows = read(tmp_path / "train")
    assert [row.id for row in rows] == [
        f"./train\\file_{n}" for n in range(11)
    ]  # as the sample submission has them; 2 before 10
    assert [row.label for row in rows] == [1, 0, *[1] * 9] and rows.label_names == ["0", "1"]
    assert rows[0].box == (10, 4, 33, 40)
    assert [path.name for path in rows[0].frames] == [f"{n}.jpg" for n in range(12)]
    (tmp_path / "action_information.csv").write_text("action,Label\na,0\nb,1\nc,2\n")
    assert read(tmp_path / "train").label_names == ["0", "1", "2"]


def test_the_id_has_the_name_of_the_folder_however_it_was_named(tmp_path, monkeypatch):
    write_competition(tmp_path / "test", [None])
    monkeypatch.chdir(tmp_path / "test")
    assert [read(path, ["0"])[0].id for path in (".", "../test", "../test/.")] == ["./test\\file_0"] * 3


def test_frames_in_which_nobody_was_found_do_not_stretch_the_box_and_are_counted(tmp_path, capsys):
    write_competition(tmp_path / "one", [0], [["20", "10", "30", "40"], ["0", "0", "0", "0"], ["22", "10", "31", "40"]])
    assert read(tmp_path / "one")[0].box == (20, 10, 31, 40)
    assert "one: 1 frames have the box 0, 0, 0, 0" in capsys.readouterr().out
    write_competition(tmp_path / "none", [0], [[0, 0, 0, 0]] * 2)
    assert read(tmp_path / "none")[0].box is None


def test_hidden_files_and_folders_are_not_seen(tmp_path):
    for name in ("a/0.mp4", "a/1", "b/0.mp4"):
        write_clip(tmp_path / name, frames=3)
    (tmp_path / "a" / "._0.mp4").write_text("resource fork")
    (tmp_path / "a" / "1" / "._0.jpg").write_text("resource fork")
    write_clip(tmp_path / ".ipynb_checkpoints" / "0.mp4", frames=3)
    write_clip(tmp_path / "a" / ".trash", frames=3)
    rows = read(tmp_path)
    assert sorted(row.id for row in rows) == ["a/0.mp4", "a/1", "b/0.mp4"] and rows.label_names == ["a", "b"]
    assert [path.name for path in rows[2].frames] == ["0.jpg", "1.jpg", "2.jpg"]


def test_a_folder_without_clips_is_said(tmp_path, capsys):
    for name in ("a/0.mp4", "b/0.mp4"):
        write_clip(tmp_path / name, frames=3)
    (tmp_path / "notes").mkdir()
    assert len(read(tmp_path)) == 2
    assert f"{tmp_path.name}: no clips in notes" in capsys.readouterr().out


def test_an_action_is_the_class_of_that_name_also_where_the_training_clips_lie_in_folders(tmp_path):
    write_competition(tmp_path / "eval", [2, 10])
    names = sorted(map(str, range(11)))  # as folders are: 0, 1, 10, 2
    rows = read(tmp_path / "eval", names)
    assert [names[row.label] for row in rows] == ["2", "10"]
    with pytest.raises(InputError, match="file_0.json, key action: 2 is none of the classes go, stop"):
        read(tmp_path / "eval", ["go", "stop", "wait"])


def test_a_json_beside_a_video_is_the_same_layout_and_a_test_folder_has_no_labels(tmp_path):
    write_competition(tmp_path / "test", [None, None], suffix=".mp4")
    rows = read(tmp_path / "test", ["0", "1"])
    assert [(row.id, row.path.name, row.label, row.box) for row in rows] == [
        ("./test\\file_0", "file_0.mp4", -1, None),
        ("./test\\file_1", "file_1.mp4", -1, None),
    ]


def test_endings_of_the_competitions_files_may_be_in_another_case(tmp_path):
    write_competition(tmp_path / "up", [0, 1], suffix=".mp4")
    (tmp_path / "up" / "file_1.mp4").rename(tmp_path / "up" / "file_1.MP4")
    (tmp_path / "up" / "file_0.json").rename(tmp_path / "up" / "file_0.JSON")
    rows = read(tmp_path / "up")
    assert [(row.id, row.path.name, row.label) for row in rows] == [
        ("./up\\file_0", "file_0.mp4", 0),
        ("./up\\file_1", "file_1.MP4", 1),
    ]
    write_clip(tmp_path / "up" / "file_1.avi")
    with pytest.raises(InputError, match=r"file_1.* has no file_1.json"):
        read(tmp_path / "up")


def test_folders_of_classes_hold_videos_of_any_kind_and_folders_of_frames_and_the_first_rows_hold_every_class(tmp_path):
    for name in ("left/a1.mp4", "left/a2.avi", "left/a10.gif", "right/b.mov", "right/c"):
        write_clip(tmp_path / name, frames=3)
    (tmp_path / "left" / "notes.txt").write_text("no clip")
    rows = read(tmp_path)
    assert rows.label_names == ["left", "right"]
    assert [(row.id, row.label) for row in rows] == [
        ("left/a1.mp4", 0), ("right/b.mov", 1), ("left/a2.avi", 0), ("right/c", 1), ("left/a10.gif", 0),
    ]  # fmt: skip
    flat = read(tmp_path / "left", rows.label_names)
    assert [(row.id, row.label) for row in flat] == [("a1.mp4", -1), ("a2.avi", -1), ("a10.gif", -1)]


def test_copies_of_a_clip_and_clips_with_neighbouring_numbers_are_one_group(tmp_path):
    write_clip(tmp_path / "a" / "x1.mp4", images=moving_square(1, 0))
    write_clip(tmp_path / "a" / "x2.mp4", images=moving_square(1, 1))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "copy.mp4").write_bytes((tmp_path / "a" / "x1.mp4").read_bytes())
    groups = {row.id: row.group for row in read(tmp_path)}
    assert groups["a/x1.mp4"] == groups["b/copy.mp4"] != groups["a/x2.mp4"]
    groups = {row.id: row.group for row in read(tmp_path, group_by_number=10)}
    assert groups["a/x1.mp4"] == groups["a/x2.mp4"] == groups["b/copy.mp4"]  # along the chain
    write_clip(tmp_path / "b" / "x20.mp4", images=moving_square(1, 2))
    groups = {row.id: row.group for row in read(tmp_path, group_by_number=10)}
    assert groups["b/x20.mp4"] not in (groups["a/x1.mp4"], groups["b/copy.mp4"])


def test_clips_of_images_that_begin_alike_are_no_copies(tmp_path):
    for name, seed in (("a/k1", 1), ("a/k2", 2), ("b/k1", 1), ("b/k3", 3)):
        (tmp_path / name).mkdir(parents=True)
        for number, image in enumerate([np.zeros((48, 64, 3), np.uint8), *moving_square(1, seed)]):
            Image.fromarray(image).save(tmp_path / name / f"{number}.png")
    groups = {row.id: row.group for row in read(tmp_path)}
    assert groups["a/k1"] == groups["b/k1"] and len(set(groups.values())) == 3


def test_clips_without_a_number_to_be_grouped_by_are_said_and_a_folder_keeps_what_is_behind_a_point(tmp_path, capsys):
    for name in ("a/x", "a/y", "b/z"):
        write_clip(tmp_path / f"{name}.mp4", images=moving_square(1, len(name) + ord(name[-1])))
    read(tmp_path, group_by_number=10)
    said = f"warning: {tmp_path.name}: 0 of 3 clips have a number in their name (not a/x.mp4)"
    assert said in capsys.readouterr().out
    read(tmp_path, ["a", "b"], group_by_number=10)  # rows that are not split
    read(tmp_path)
    assert "warning" not in capsys.readouterr().out
    for take in (1, 2):
        frame = tmp_path / "b" / f"take.{take}" / "0.png"
        frame.parent.mkdir()
        cv2.imwrite(str(frame), np.full((8, 8, 3), take, np.uint8))
    groups = {row.id: row.group for row in read(tmp_path, group_by_number=10)}
    assert groups["b/take.1"] == groups["b/take.2"] != groups["b/z.mp4"]
    assert "2 of 5 clips have a number in their name (not a/x.mp4)" in capsys.readouterr().out


def test_the_submission_has_the_competitions_columns_for_its_ids_and_label_and_probabilities_else(tmp_path):
    logits = Logits(["one"], [[0.0, 2.0]], [-1], ["0", "1"])
    competition = submission_format([ClipExample("./test\\file_24", tmp_path)])
    assert competition.id_column == "file_path"
    assert competition.cells(logits) == {"Label_0": ["0.11920292"], "Label_1": ["0.88079708"]}
    other = submission_format([ClipExample("clip.mp4", tmp_path)])
    assert other is submission_format(None) and other.id_column == "Id"
    assert other.cells(logits) == {"Predicted": ["1"], "0": ["0.11920292"], "1": ["0.88079708"]}


# Decoding


@pytest.mark.parametrize("name", ["c.mp4", "c.mov", "c.avi", "c.gif", "c"])
def test_the_frames_asked_for_come_back_in_the_order_asked_for(name, tmp_path):
    path = write_clip(tmp_path / name, frames=12)
    source = sorted(path.iterdir(), key=lambda p: int(p.stem)) if path.is_dir() else path
    totals = []
    frames = read_frames(source, lambda total: totals.append(total) or [0, 3, 3, 11, 7])
    assert (frames.shape, frames.dtype, set(totals)) == ((5, 48, 64, 3), np.uint8, {12})
    assert numbers_of(frames) == [0, 3, 3, 11, 7]


@pytest.mark.parametrize("name", ["c.mp4", "c.avi", "c.gif"])
def test_pyav_gives_the_same_frames_where_decord_cannot(name, tmp_path, monkeypatch):
    path = write_clip(tmp_path / name, images=moving_square(1, 3))
    frames = read_frames(path, lambda total: [1, 5])
    monkeypatch.setattr(decode, "decord", None)
    assert np.abs(read_frames(path, lambda total: [1, 5]).astype(int) - frames).max() <= 2


@pytest.mark.parametrize("name", ["c.mp4", "c.gif", "c"])
def test_frames_prepared_a_few_at_a_time_are_those_prepared_at_once(name, tmp_path, monkeypatch):
    path = write_clip(tmp_path / name, images=moving_square(1, 3, 20))
    source, numbers = (
        sorted(path.iterdir(), key=lambda p: int(p.stem)) if path.is_dir() else path,
        [0, 3, 3, 19, 7, *range(20)],
    )
    held = []

    def half(frames):
        held.append(len(frames))
        return frames[:, ::2, ::2]

    for decoder in (decode.decord, None):
        monkeypatch.setattr(decode, "decord", decoder)
        whole = read_frames(source, lambda total: numbers)
        assert np.array_equal(read_frames(source, lambda total: numbers, half), whole[:, ::2, ::2])
    assert max(held) <= decode.CHUNK < len(numbers)


@pytest.mark.parametrize("with_decord", [True, False], ids=["decord", "pyav"])
def test_a_phones_video_stands_upright(with_decord, tmp_path, monkeypatch):
    if not with_decord:
        monkeypatch.setattr(decode, "decord", None)
    image = grey(5)
    image[:10] = 250
    path = write_clip(tmp_path / "c.mp4", images=[image] * 4)
    content = bytearray(path.read_bytes())
    matrix = content.find(b"tkhd") + 44  # a quarter turn clockwise, as phones write it (ISO 14496-12, section 8.3.2)
    content[matrix : matrix + 36] = struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, 48 * 65536, 0, 2**30)
    path.write_bytes(content)
    frame = read_frames(path, lambda total: [1])[0]
    assert frame.shape == (64, 48, 3)
    assert frame[:, -8:].mean() > 200 and frame[:, :30].mean() < 120  # the top is now on the right


def test_a_damaged_video_says_nothing_beside_its_error(tmp_path, capfd):
    path = write_clip(tmp_path / "c.mp4", images=moving_square(1, 0, 40, 128))
    content = bytearray(path.read_bytes())
    content[len(content) // 4 : len(content) // 2] = bytes(len(content) // 2 - len(content) // 4)
    path.write_bytes(content)
    with pytest.raises(InputError, match="c.mp4: cannot be decoded .* --skip_broken"):
        read_frames(path, range)
    assert capfd.readouterr().err == ""


def test_skip_broken_looks_at_every_frame_and_a_run_without_it_at_the_size_of_every_image(tmp_path):
    path = write_clip(tmp_path / "c", images=moving_square(1, 0, 9, 64))
    rows = read(tmp_path)
    (path / "2.jpg").write_bytes((path / "2.jpg").read_bytes()[:-300])
    assert find_broken(rows, skip_broken=False) == []
    assert find_broken(rows, skip_broken=True) == ["c"]
    Image.fromarray(grey(2, 30, 30)).save(path / "2.jpg")
    with pytest.raises(InputError, match="2.jpg: is 30 x 30"):
        find_broken(rows, skip_broken=False)


def test_a_box_of_frames_of_another_size_is_said(tmp_path, capsys):
    for folder, boxes in (("near", [[5, 5, 50, 50]] * 12), ("far", [[90, 60, 400, 390]] * 12)):
        rows = read(write_competition(tmp_path / folder, [0, 1], boxes))
        capsys.readouterr()
        assert find_broken(rows, skip_broken=False) == []
        said = "2 of 2 clips have a box that reaches far beyond their frames (first: ./far\\file_0)"
        assert (said in capsys.readouterr().out) == (folder == "far")


def test_only_the_chosen_images_are_opened(tmp_path):
    path = write_clip(tmp_path / "c", frames=4)
    (path / "2.jpg").write_text("broken")
    files = [path / f"{n}.jpg" for n in range(4)]
    assert numbers_of(read_frames(files, lambda total: [0, 3])) == [0, 3]
    with pytest.raises(InputError, match="2.jpg"):
        read_frames(files, lambda total: [2])


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("with_decord", [True, False], ids=["decord", "pyav"])
def test_a_broken_clip_is_named_at_the_first_look(kind, with_decord, tmp_path, monkeypatch):
    if not with_decord:
        monkeypatch.setattr(decode, "decord", None)
    write_broken(tmp_path, kind)
    write_clip(tmp_path / "good.mp4", frames=4)
    rows = read(tmp_path, ["a"])
    with pytest.raises(InputError, match="broken"):
        find_broken(rows, skip_broken=False)
    assert find_broken(rows, skip_broken=True) == [row.id for row in rows if "broken" in row.id]


def test_no_reader_stays_open(tmp_path):
    good, bad = write_clip(tmp_path / "c.mp4"), write_broken(tmp_path, "truncated-avi")

    def look():
        read_frames(good, lambda total: [0, 5])
        find_broken([ClipExample("bad", bad)], skip_broken=True)
        return len(os.listdir("/proc/self/fd"))

    before = look()
    assert [look() for _ in range(20)][-1] == before


# Sampling


@pytest.mark.parametrize("total", [1, 3, 7, 16, 20, 31, 190])
@pytest.mark.parametrize("stride", [0, 1, 2, 8])
def test_frames_of_a_clip_ascend_within_the_video_and_its_window(total, stride):
    torch.manual_seed(0)
    training = [choose_frames(total, 8, stride, jitter=True) for _ in range(20)]
    for numbers in [*training, *(choose_frames(total, 8, stride, k, 3) for k in range(3))]:
        assert len(numbers) == 8 and numbers == sorted(numbers)
        assert 0 <= numbers[0] and numbers[-1] < total
        assert stride == 0 or numbers[-1] - numbers[0] <= 8 * stride


def test_test_clips_cover_the_video_and_training_clips_every_frame():
    first, middle, last = (choose_frames(100, 8, 2, k, 3) for k in range(3))
    assert first[0] <= 1 and last[-1] >= 98 and middle[0] == 43
    assert choose_frames(16, 8, 2) == [1, 3, 5, 7, 9, 11, 13, 15]
    assert choose_frames(100, 8, 0, 0, 2) != choose_frames(100, 8, 0, 1, 2)
    torch.manual_seed(0)
    assert {n for _ in range(200) for n in choose_frames(40, 8, 2, jitter=True)} == set(range(40))


# Preparing


def test_the_box_is_cut_out_of_all_frames_alike_with_a_margin():
    frames = np.stack([grey(k, 60, 80) for k in range(2)])
    frames[:, 20:40, 30:50] = 255
    cut = prepare_frames(frames, (30, 20, 50, 40), "none", 28)
    assert cut.shape == (2, 32, 32, 3)  # 20 pixels and 2 on each side
    assert (cut == 255).mean() == pytest.approx((20 / 25) ** 2, abs=0.1)
    assert prepare_frames(frames, None, "none", 28).shape == (2, 32, 43, 3)
    assert prepare_frames(frames, (900, 900, 950, 950), "none", 28).shape == (2, 32, 43, 3)


@pytest.mark.parametrize(("height", "width"), [(60, 80), (30, 80), (60, 24)])
def test_the_whole_person_is_in_the_only_view_whatever_the_shape_of_his_box(height, width):
    for box in ((2, 24, 22, 28), (10, 2, 14, 28)):
        frames = np.zeros((1, height, width, 3), dtype=np.uint8)
        x1, y1, x2, y2 = box
        frames[:, y1 : y1 + 2, x1 : x1 + 2] = frames[:, y2 - 2 : y2, x2 - 2 : x2] = 255  # two hands
        square = prepare_frames(frames, box, "none", 56)
        assert square.shape == (1, 64, 64, 3)
        (view,) = square_crops(torch.from_numpy(square).permute(0, 3, 1, 2), 56, 1)
        hands, _ = cv2.connectedComponents((view[0, 0].numpy() > 128).astype(np.uint8))
        assert hands == 3  # and the background


def test_three_crops_of_the_square_around_a_person_are_one(tmp_path):
    example = ClipExample("c", write_clip(tmp_path / "c.mp4"), box=(10, 10, 40, 20))
    views = [
        ClipDataset([replace(example, box=box)], replace(PLAIN, num_crops=3))[0]["pixel_values"]
        for box in (example.box, None)
    ]
    assert [len(view) for view in views] == [1, 3]


def test_bicubic_enlarges_with_less_error_than_the_default_and_leaves_large_frames_as_they_are():
    rows = np.arange(64)
    wave = (128 + 100 * np.sin(rows / 6.0)[:, None] * np.cos(rows / 7.0)[None]).astype(np.uint8)
    large = np.repeat(wave[None, ..., None], 3, axis=3)
    small = prepare_frames(large, None, "none", 28)
    errors = [np.abs(prepare_frames(small, None, how, 56).astype(int) - large).mean() for how in ("none", "bicubic")]
    assert errors[1] < errors[0]
    assert np.array_equal(small, prepare_frames(large, None, "bicubic", 28))


def test_three_crops_reach_both_ends_of_the_longer_side_and_one_is_the_middle():
    frames = torch.arange(40).expand(2, 3, 20, 40).to(torch.uint8)
    crops = square_crops(frames, 20, 3)
    assert [int(crop[0, 0, 0, 0]) for crop in crops] == [0, 10, 20]
    assert torch.equal(square_crops(frames, 20, 1)[0], crops[1])
    tall = square_crops(frames.transpose(2, 3), 20, 3)
    assert [int(crop[0, 0, 0, 0]) for crop in tall] == [0, 10, 20]


# The data set


def noisy_clip(tmp_path):
    """The same picture in all frames."""
    image = np.random.default_rng(0).integers(0, 255, (8, 8, 3)).astype(np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    return ClipExample("c", path := write_clip(tmp_path / "c", images=[image] * 6), sorted(path.iterdir()), label=0)


def test_augmentation_is_the_same_for_all_frames_of_a_clip_and_another_in_each_epoch(tmp_path):
    dataset = ClipDataset([noisy_clip(tmp_path)], PLAIN, augmentation=Augmentation(0.3, 0.4, [1, 0]))
    seen = []
    for epoch in range(6):
        dataset.set_epoch(epoch)
        clip = dataset[0]["pixel_values"]
        assert clip.shape == (3, 4, 32, 32)
        assert torch.allclose(clip, clip[:, :1].expand_as(clip), atol=1e-6)
        seen.append(clip)
    assert all((a - b).abs().max() > 0.05 for i, a in enumerate(seen) for b in seen[:i])


def test_a_flipped_clip_has_the_label_of_its_mirror_image(tmp_path):
    example = noisy_clip(tmp_path)
    dataset = ClipDataset(
        [example], PLAIN, augmentation=replace(OFF, flip_map=flip_map(["left:right"], ["left", "right"]))
    )
    plain = ClipDataset([example], PLAIN, augmentation=OFF)[0]["pixel_values"]
    labels = []
    for epoch in range(12):
        dataset.set_epoch(epoch)
        item = dataset[0]
        labels.append(item["labels"])
        difference = [(item["pixel_values"] - other).abs().mean() for other in (plain, plain.flip(-1))]
        assert (difference[1] < difference[0]) == (item["labels"] == 1)
    assert set(labels) == {0, 1}


def test_flip_pairs_are_labels_and_swap_once():
    assert flip_map(None, ["a", "b"]) is None
    assert flip_map(["a:c", "b:b"], ["a", "b", "c"]) == [2, 1, 0]
    for pair in ("a:d", "a", "a-c"):
        with pytest.raises(InputError, match="flip_pairs"):
            flip_map([pair], ["a", "b", "c"])
    with pytest.raises(InputError, match="another pair"):
        flip_map(["a:c", "b:c"], ["a", "b", "c"])
    for pairs in (["a:c", "a:a"], ["a:a", "a:c"]):  # a's mirror image would be c and a
        with pytest.raises(InputError, match="another pair has"):
            flip_map(pairs, ["a", "b", "c"])


def test_views_are_clips_times_crops_and_clips_share_decoded_frames(tmp_path):
    path = write_clip(tmp_path / "c", frames=20, height=40, width=80)
    example = ClipExample("c", path, sorted(path.iterdir(), key=lambda p: int(p.stem)))
    item = ClipDataset([example], replace(PLAIN, num_clips=2, num_crops=3, frame_stride=4))[0]["pixel_values"]
    assert item.shape == (6, 3, 4, 32, 32)
    for clip in range(2):
        wanted = [(STEP * n + 20) / 255 for n in choose_frames(20, 4, 4, clip, 2)]
        for crop in range(3):
            assert item[3 * clip + crop].mean((0, 2, 3)).tolist() == pytest.approx(wanted, abs=0.01)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_loaders_give_the_same_batches_with_and_without_workers_and_carry_the_sentence_of_a_broken_clip(
    num_workers, tmp_path, monkeypatch
):
    monkeypatch.syspath_prepend(TASK)  # workers import siblings of clips.py from there
    rows = [
        ClipExample(str(k), write_clip(tmp_path / f"{k}.mp4", images=moving_square(1, k)), label=k) for k in range(3)
    ]
    dataset = ClipDataset(rows, PLAIN, augmentation=Augmentation(0.5, 0.2, None), seed=5)
    (batch,) = clips.make_loader(dataset, 3, num_workers)
    assert batch["labels"].tolist() == [0, 1, 2]
    assert torch.equal(batch["pixel_values"], torch.stack([dataset[k]["pixel_values"] for k in range(3)]))
    dataset.examples[1].path.write_text("gone")
    with pytest.raises(InputError, match="^.*1.mp4: cannot be decoded as a video"):
        for batch in clips.make_loader(dataset, 3, num_workers):
            clips.checked(batch)


@pytest.mark.parametrize("augmentation", [None, Augmentation(0.5, 0.2, None)], ids=["views", "training"])
def test_a_cached_clip_is_the_same_clip_without_decoding_again(augmentation, tmp_path, monkeypatch):
    example = ClipExample("c", write_clip(tmp_path / "c.mp4", images=moving_square(1, 0)), box=(4, 4, 40, 40))
    plain = ClipDataset([example], PLAIN, None, augmentation)[0]["pixel_values"]
    cached = ClipDataset([example], PLAIN, str(tmp_path / "cache"), augmentation)
    assert torch.equal(cached[0]["pixel_values"], plain)
    (file,) = (tmp_path / "cache").iterdir()
    frames = np.load(file, mmap_mode="r")
    assert (frames.dtype, len(frames)) == (np.uint8, 12)
    monkeypatch.setattr(clips, "read_frames", None)
    assert torch.equal(cached[0]["pixel_values"], plain)
    monkeypatch.undo()
    for changed in (replace(PLAIN, crop_size=24), replace(PLAIN, person_box=False), replace(PLAIN, upscale="bicubic")):
        fresh, kept = ClipDataset([example], changed), ClipDataset([example], changed, str(tmp_path / "cache"))
        assert torch.equal(kept[0]["pixel_values"], fresh[0]["pixel_values"])
    write_clip(example.path, images=moving_square(-1, 0))
    os.utime(example.path, ns=(1, 1))
    assert not torch.equal(cached[0]["pixel_values"], plain)


def test_a_changed_clip_or_upscaler_is_not_taken_from_the_cache_and_long_names_can_be_cached(tmp_path):
    path = write_clip(tmp_path / ("가" * 80), frames=6)
    example = ClipExample("c", path, sorted(path.iterdir()))
    dataset = ClipDataset([example], PLAIN, str(tmp_path / "cache"))
    whole = dataset[0]["pixel_values"]
    dates = [file.stat().st_mtime_ns for file in example.frames]
    fewer = ClipDataset([replace(example, frames=example.frames[3:])], PLAIN, str(tmp_path / "cache"))
    assert dates[-1] == max(dates) and not torch.equal(fewer[0]["pixel_values"], whole)
    onnx = tmp_path / "model.onnx"
    onnx.write_text("one")
    upscaled = ClipDataset([example], replace(PLAIN, upscale=str(onnx)), str(tmp_path / "cache"))
    before = upscaled.cache_file(example)
    onnx.write_text("another")
    assert upscaled.cache_file(example) != before


def test_a_view_at_a_time_gives_what_all_views_at_once_give(tmp_path):
    rows = [
        ClipExample(str(k), write_clip(tmp_path / f"{k}.mp4", images=moving_square(1, k)), label=0) for k in range(3)
    ]
    dataset = ClipDataset(rows, replace(PLAIN, num_clips=2, num_crops=3))
    most = []

    class Mean(torch.nn.Module):
        def forward(self, pixel_values):
            most.append(len(pixel_values))
            return SimpleNamespace(logits=pixel_values.mean((2, 3, 4)))

    logits = [clips.predict_clips(Mean(), dataset, Accelerator(cpu=True), list("abc"), n).logits for n in (18, 4, 1)]
    assert np.allclose(logits[0], logits[1], atol=1e-6) and np.allclose(logits[0], logits[2], atol=1e-6)
    assert most == [18, *[4, 2] * 3, *[1] * 18]


@pytest.mark.slow
def test_workers_start_from_a_process_that_has_imported_this_module(tmp_path):
    (tmp_path / "script.py").write_text(f"""
import sys
sys.path[:0] = [{str(TASK)!r}, {str(ROOT)!r}]
if __name__ == "__main__":
    import multiprocessing, os, clips
    clips.make_loader([0], 1, 1)
    with multiprocessing.get_context("forkserver").Pool(1) as pool:
        print(pool.apply(eval, ["'clips' in __import__('sys').modules"]), os.environ.get("PYTHONPATH"))
""")
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    assert subprocess.check_output([sys.executable, "script.py"], cwd=tmp_path, env=env, text=True).split() == [
        "True",
        "None",
    ]


def test_mixup_mixes_clips_and_labels_by_the_same_share():
    torch.manual_seed(0)
    pixel_values = torch.stack([torch.full((3, 2, 4, 4), float(k)) for k in range(2)])
    mixed, targets = clips.mixup(pixel_values, torch.tensor([0, 1]), 0.8, 3)
    assert targets.sum(1).tolist() == pytest.approx([1, 1]) and 0 < targets[0, 1] < 1
    assert mixed.mean((1, 2, 3, 4)).tolist() == pytest.approx(targets[:, 1].tolist(), abs=1e-6)


def test_a_skipped_test_clip_gets_equal_logits_in_its_place():
    logits = Logits(["a", "c"], [[1.0, 2.0], [3.0, 4.0]], [-1, -1], ["x", "y"])
    whole = clips.with_broken(logits, ["a", "b", "c"])
    assert whole.ids.tolist() == ["a", "b", "c"]
    assert whole.logits.tolist() == [[1, 2], [0, 0], [3, 4]]


def test_super_resolution_takes_rgb_and_luminance_models_and_refuses_others(tmp_path):
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    for channels in (1, 3):
        path = tmp_path / f"x2-{channels}.onnx"
        shape = [1, channels, "h", "w"]
        scales = onnx.numpy_helper.from_array(np.array([1, 1, 2, 2], dtype=np.float32), "scales")
        node = onnx.helper.make_node("Resize", ["x", "", "scales"], ["y"], mode="nearest")
        values = [
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape if name == "x" else None)
            for name in "xy"
        ]
        graph = onnx.helper.make_graph([node], "g", values[:1], values[1:], [scales])
        onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10), path)
        frame = np.full((16, 16, 3), (200, 100, 50), dtype=np.uint8)
        large = super_resolution(frame, str(path))
        assert large.shape == (32, 32, 3) and np.abs(large.astype(int) - frame[0, 0]).max() <= 2
        check_upscale(str(path))


@pytest.mark.parametrize("operation", ["Flatten", "ReduceMax"])
def test_an_upscaler_that_gives_no_image_or_other_channels_is_named(operation, tmp_path):
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    inputs = ["x"] if operation == "Flatten" else ["x", "axes"]
    axes = onnx.numpy_helper.from_array(np.array([1]), "axes")
    node = onnx.helper.make_node(operation, inputs, ["y"])
    shapes = {"x": [1, 3, "h", "w"], "y": None}
    values = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    graph = onnx.helper.make_graph([node], "g", values[:1], values[1:], [axes])
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10),
        tmp_path / "m.onnx",
    )
    with pytest.raises(InputError, match="m.onnx: gives .* expected an image of as many channels"):
        check_upscale(str(tmp_path / "m.onnx"))


@pytest.mark.parametrize("what", ["missing.onnx", "text.onnx", "cubic"])
def test_an_upscaler_that_is_none_is_named(what, tmp_path):
    if what == "text.onnx":
        pytest.importorskip("onnxruntime")
    (tmp_path / "text.onnx").write_text("text")
    with pytest.raises(InputError, match=what):
        check_upscale(str(tmp_path / what) if "onnx" in what else what)


def test_images_with_transparency_or_a_palette_are_read_as_rgb(tmp_path):
    path = tmp_path / "c"
    path.mkdir()
    Image.fromarray(grey(1)).convert("P").save(path / "0.png")
    Image.fromarray(np.dstack([grey(2), np.full((48, 64), 255, np.uint8)])).save(path / "1.png")
    assert numbers_of(read_frames(sorted(path.iterdir()), range)) == [1, 2]
