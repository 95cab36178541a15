"""hand_signal/data.py and clips.py: both layouts, the frames that are asked for and no others, the same change for all frames of a clip."""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from common.errors import InputError
from common.logits import Logits
from hand_signal import clips
from hand_signal.clips import Augmentation, ClipDataset, Preprocessing, choose_frames, prepare_frames, read_frames, square_crops
from hand_signal.data import ClipExample, flip_map, read_examples, submission_columns
from tests.videos import BROKEN, STEP, grey, moving_square, numbers_of, write_broken, write_clip, write_competition

PLAIN = Preprocessing(4, 0, 32, [0.0] * 3, [1.0] * 3, person_box=True, upscale="none", num_clips=1, num_crops=1)
OFF = Augmentation(min_crop_scale=1.0, color_jitter=0.0, flip_map=None)


# Layouts


def test_the_competitions_layout_gives_ids_labels_boxes_and_frames_in_the_order_of_their_numbers(tmp_path):
    boxes = [["10", "5", "30", "40"], ["12", "4", "33", "39.5"]]
    write_competition(tmp_path / "train", [1, 0, *[1] * 9], boxes)
    rows, names = read_examples(tmp_path / "train")
    assert [row.id for row in rows] == [f"./train\\file_{n}" for n in range(11)]  # as the sample submission has them; 2 before 10
    assert [row.label for row in rows] == [1, 0, *[1] * 9] and names == ["0", "1"]
    assert rows[0].box == (10, 4, 33, 40)
    assert [path.name for path in rows[0].frames] == [f"{n}.jpg" for n in range(12)]
    (tmp_path / "action_information.csv").write_text("action,Label\na,0\nb,1\nc,2\n")
    assert read_examples(tmp_path / "train")[1] == ["0", "1", "2"]


def test_a_json_beside_a_video_is_the_same_layout_and_a_test_folder_has_no_labels(tmp_path):
    write_competition(tmp_path / "test", [None, None], suffix=".mp4")
    rows, names = read_examples(tmp_path / "test", ["0", "1"])
    assert [(row.id, row.path.name, row.label, row.box) for row in rows] == [
        ("./test\\file_0", "file_0.mp4", -1, None),
        ("./test\\file_1", "file_1.mp4", -1, None),
    ]


def test_folders_of_classes_hold_videos_of_any_kind_and_folders_of_frames_and_the_first_rows_hold_every_class(tmp_path):
    for name in ("left/a1.mp4", "left/a2.avi", "left/a10.gif", "right/b.mov", "right/c"):
        write_clip(tmp_path / name, frames=3)
    (tmp_path / "left" / "notes.txt").write_text("no clip")
    rows, names = read_examples(tmp_path)
    assert names == ["left", "right"]
    assert [(row.id, row.label) for row in rows] == [
        ("left/a1.mp4", 0), ("right/b.mov", 1), ("left/a2.avi", 0), ("right/c", 1), ("left/a10.gif", 0),
    ]  # fmt: skip
    flat, _ = read_examples(tmp_path / "left", names)
    assert [(row.id, row.label) for row in flat] == [("a1.mp4", -1), ("a2.avi", -1), ("a10.gif", -1)]


def test_copies_of_a_clip_and_clips_with_neighbouring_numbers_are_one_group(tmp_path):
    write_clip(tmp_path / "a" / "x1.mp4", images=moving_square(1, 0))
    write_clip(tmp_path / "a" / "x2.mp4", images=moving_square(1, 1))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "copy.mp4").write_bytes((tmp_path / "a" / "x1.mp4").read_bytes())
    groups = {row.id: row.group for row in read_examples(tmp_path)[0]}
    assert groups["a/x1.mp4"] == groups["b/copy.mp4"] != groups["a/x2.mp4"]
    groups = {row.id: row.group for row in read_examples(tmp_path, group_by_number=10)[0]}
    assert groups["a/x1.mp4"] == groups["a/x2.mp4"] != groups["b/copy.mp4"]


def test_the_submission_has_the_competitions_columns_for_its_ids_and_label_and_probabilities_else():
    logits = Logits(["./test\\file_24"], [[0.0, 2.0]], [-1], ["0", "1"])
    assert submission_columns(logits) == {"Label_0": ["0.11920292"], "Label_1": ["0.88079708"]}
    logits.ids = np.array(["clip.mp4"])
    assert submission_columns(logits) == {"Predicted": ["1"], "0": ["0.11920292"], "1": ["0.88079708"]}


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
    monkeypatch.setattr(clips, "decord", None)
    assert np.abs(read_frames(path, lambda total: [1, 5]).astype(int) - frames).max() <= 2


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
        monkeypatch.setattr(clips, "decord", None)
    write_broken(tmp_path, kind)
    write_clip(tmp_path / "good.mp4", frames=4)
    rows, _ = read_examples(tmp_path, ["a"])
    with pytest.raises(InputError, match="broken"):
        clips.find_broken(rows, skip_broken=False)
    assert clips.find_broken(rows, skip_broken=True) == [row.id for row in rows if "broken" in row.id]


def test_no_reader_stays_open(tmp_path):
    good, bad = write_clip(tmp_path / "c.mp4"), write_broken(tmp_path, "truncated-avi")

    def look():
        read_frames(good, lambda total: [0, 5])
        clips.find_broken([ClipExample("bad", bad)], skip_broken=True)
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
    dataset = ClipDataset([example], PLAIN, augmentation=replace(OFF, flip_map=flip_map(["left:right"], ["left", "right"])))
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
def test_loaders_give_the_same_batches_with_and_without_workers_and_carry_the_sentence_of_a_broken_clip(num_workers, tmp_path):
    rows = [ClipExample(str(k), write_clip(tmp_path / f"{k}.mp4", images=moving_square(1, k)), label=k) for k in range(3)]
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
        values = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape if name == "x" else None) for name in "xy"]
        graph = onnx.helper.make_graph([node], "g", values[:1], values[1:], [scales])
        onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10), path)
        frame = np.full((16, 16, 3), (200, 100, 50), dtype=np.uint8)
        large = clips.super_resolution(frame, str(path))
        assert large.shape == (32, 32, 3) and np.abs(large.astype(int) - frame[0, 0]).max() <= 2
        clips.check_upscale(str(path))


@pytest.mark.parametrize("what", ["missing.onnx", "text.onnx", "cubic"])
def test_an_upscaler_that_is_none_is_named(what, tmp_path):
    if what == "text.onnx":
        pytest.importorskip("onnxruntime")
    (tmp_path / "text.onnx").write_text("text")
    with pytest.raises(InputError, match=what):
        clips.check_upscale(str(tmp_path / what) if "onnx" in what else what)


def test_images_with_transparency_or_a_palette_are_read_as_rgb(tmp_path):
    path = tmp_path / "c"
    path.mkdir()
    Image.fromarray(grey(1)).convert("P").save(path / "0.png")
    Image.fromarray(np.dstack([grey(2), np.full((48, 64), 255, np.uint8)])).save(path / "1.png")
    assert numbers_of(read_frames(sorted(path.iterdir()), range)) == [1, 2]
