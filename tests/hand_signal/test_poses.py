"""Key points of files -> arrays: three places, all forms of a frame, what is missing; names and graphs."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.console import InputError
from hand_signal.data import ClipExample, read_examples, stamp
from hand_signal.pose_layouts import LAYOUTS, read_layout, swapped_pairs
from hand_signal.poses import Finder, Pose, nearest_filled, person_boxes, read_pose
from tests.tools.poses import PARENTS, POINTS, entry, person, write_json, write_posed_clips
from tests.tools.videos import write_competition

WISH = {"file": None, "names": None, "points": None, "optional": False, "pixels": False, "boxes": False}


def read(folder, **wish):
    return read_examples(folder, {"label_names": None, "group_by_number": 1, "poses": {**WISH, **wish}})


@pytest.mark.parametrize("form", ["flat", "strings", "points", "flat-of-two"])
def test_a_frame_is_a_flat_list_of_two_or_three_numbers_a_point_or_a_list_of_points(form):
    points = np.round(person(0, 1)[:, :7], 2)
    if form == "points":
        frames = points.tolist()
    elif form == "flat-of-two":
        frames = points[..., :2].reshape(12, -1).tolist()
    else:
        frames = [[str(v) if form == "strings" else v for v in frame.ravel().tolist()] for frame in points]
    pose = read_pose({"sequence": {"2d_pos": frames}}, "f")
    assert pose.points.shape == (12, 7, 3) and np.allclose(pose.points[..., :2], points[..., :2])
    if form == "flat-of-two":
        assert np.isnan(pose.points[..., 2]).all() and pose.found.all()
    else:
        assert np.allclose(pose.points[..., 2], points[..., 2])


def test_the_known_number_of_points_tells_two_numbers_from_three():
    frame = [9.0, 9.0, 1.0] * 4
    assert read_pose([frame], "f").points.shape[1] == 4
    assert read_pose([frame], "f", wanted=6).points.shape[1] == 6


def flat_clips(folder, numbers, points=8):
    """Clips k0 and k1 with flat frames of `points` points of 2 or 3 numbers, as the rows of their --pose_file."""
    entries = write_posed_clips(folder / "clips", [0, 1], 2)
    for pose in entries.values():
        pose["2d_pos"] = [[v for p in frame[:points] for v in p[:numbers]] for frame in pose["2d_pos"]]
    return entries


def test_flat_frames_that_fit_two_and_three_numbers_are_decided_by_all_clips_or_refused(tmp_path):
    entries = flat_clips(tmp_path, 3)  # 24 numbers: 8 of 3, or 12 of 2
    rows = read(tmp_path / "clips", file=str(write_json(tmp_path / "p.json", entries)))
    assert {row.pose.points.shape[1:] for row in rows} == {(8, 3)} and np.isfinite(rows[0].pose.points[..., 2]).all()
    entries["k1/k1_1.mp4"]["2d_pos"][5][2] = 180.0  # one third number of one frame that is none
    path = str(write_json(tmp_path / "p.json", entries))
    with pytest.raises(InputError, match="24 numbers a frame, which are 8 points of 3 or 12 of 2.*--pose_names"):
        read(tmp_path / "clips", file=path)
    names = write_json(tmp_path / "names.json", [f"p{k}" for k in range(8)])
    assert read(tmp_path / "clips", file=path, names=str(names))[0].pose.points.shape[1] == 8
    assert read(tmp_path / "clips", file=path, points=8)[0].pose.points.shape[1] == 8  # of a run
    entries["k0/k0_0.mp4"]["2d_pos"] = [np.reshape(f, (8, 3)).tolist() for f in entries["k0/k0_0.mp4"]["2d_pos"]]
    path = str(write_json(tmp_path / "p.json", entries))
    assert read(tmp_path / "clips", file=path)[0].pose.points.shape[1] == 8  # one clip says it


def test_flat_frames_of_two_numbers_in_some_clips_and_three_in_others_are_the_number_of_points_that_fits_both(tmp_path):
    entries = flat_clips(tmp_path, 3, points=6)  # 18 numbers: 6 of 3, or 9 of 2
    other = entries["k0/k0_1.mp4"]
    other["2d_pos"] = [[v for i, v in enumerate(frame) if i % 3 < 2] for frame in other["2d_pos"]]  # 12: 6 of 2, 4 of 3
    rows = read(tmp_path / "clips", file=str(write_json(tmp_path / "p.json", entries)))
    assert {row.pose.points.shape[1:] for row in rows} == {(6, 3)}
    assert [np.isnan(row.pose.points[..., 2]).all() for row in rows] == [row.id == "k0/k0_1.mp4" for row in rows]
    other["2d_pos"] = [frame * 3 for frame in other["2d_pos"]]  # 36: 12 of 3, or 18 of 2
    with pytest.raises(InputError, match="18 numbers a frame, other clips have 36 numbers"):
        read(tmp_path / "clips", file=str(write_json(tmp_path / "p.json", entries)))


def test_pairs_of_pixels_are_never_taken_for_triples(tmp_path):
    entries = flat_clips(tmp_path, 2, points=9)  # 18 numbers: 9 of 2, or 6 of 3
    path = str(write_json(tmp_path / "p.json", entries))
    with pytest.raises(InputError, match="6 points of 3 or 9 of 2"):
        read(tmp_path / "clips", file=path)
    assert read(tmp_path / "clips", file=path, points=9)[0].pose.points.shape[1] == 9


def test_shares_of_the_frame_do_not_say_what_a_third_number_is():
    with pytest.raises(InputError, match="4 points of 3 or 6 of 2"):
        read_pose([[0.5, 0.4, 0.9] * 4], "f")


def test_null_zeros_nan_and_confidence_0_are_missing_and_carried_from_the_nearest_frame():
    frames = [[[k + 1.0, 5, 1], [9, k + 1.0, 1]] for k in range(6)]
    frames[0] = None
    frames[2][0] = [0, 0, 0.9]
    frames[3][0] = [float("nan"), 5, 1]
    frames[4][1] = [7, 7, 0]
    frames[5][1] = None
    pose = read_pose(frames, "f")
    assert pose.found.tolist() == [
        [False, False],
        [True, True],
        [False, True],
        [False, True],
        [True, False],
        [True, False],
    ]
    filled = nearest_filled(pose.points[..., :2], pose.found)
    assert filled[:, 0, 0].tolist() == [2, 2, 2, 5, 5, 6] and filled[:, 1, 1].tolist() == [2, 2, 3, 4, 4, 4]


def test_a_point_that_no_frame_has_becomes_zero():
    assert (nearest_filled(np.ones((3, 2, 2)), np.array([[True, False]] * 3))[:, 1] == 0).all()


@pytest.mark.parametrize("key", ["k0/a.mp4", "k0/a", "a.mp4", "a", "./k0\\a.mp4"])
def test_a_clip_is_found_under_its_id_with_or_without_suffix_or_by_its_name_alone(key):
    assert Finder({key: ("it", "f")}).find("k0/a.mp4") == ("it", "f")
    assert Finder({key: ("it", "f"), "other/b": ("no", "f")}).find("./k0\\a.mp4") == ("it", "f")


def test_a_name_that_two_entries_have_finds_neither():
    assert Finder({"x/a.mp4": 1, "y/a.mp4": 2}).find("a.mp4") is None


def test_the_key_points_of_one_clip_are_never_those_of_two(tmp_path):
    entries = write_posed_clips(tmp_path / "clips", [0, 1], 1)
    for kind in (0, 1):
        (tmp_path / "clips" / f"k{kind}" / f"k{kind}_0.mp4").rename(tmp_path / "clips" / f"k{kind}" / "0.mp4")
    alone = write_json(tmp_path / "p.json", {"0": entries["k0/k0_0.mp4"]})  # whoever wrote it, wrote both there
    with pytest.raises(InputError, match=r"p.json, clip '0': is found for two clips, .*k0/0.mp4 and .*k1/0.mp4"):
        read(tmp_path / "clips", file=str(alone))
    whole = write_json(tmp_path / "q.json", {f"k{kind}/0": entries[f"k{kind}/k{kind}_0.mp4"] for kind in (0, 1)})
    layout = {"label_names": None, "group_by_number": 1, "poses": {**WISH, "file": str(whole)}}
    assert len(read_examples(tmp_path / "clips", layout)) == 2
    assert len(read_examples(tmp_path / "clips", layout)) == 2  # the same clips, as train_file and as eval_file
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "k1").mkdir()
    (tmp_path / "test" / "k1" / "0.mp4").write_bytes(b"another clip")
    with pytest.raises(InputError, match=r"q.json, clip 'k1/0': is found for two clips, .*clips/k1.* and .*test/k1"):
        read_examples(tmp_path / "test", layout)


def test_key_points_of_a_clip_of_another_folder_or_of_another_file_are_said(tmp_path, capsys):
    write_competition(tmp_path / "test", [0, 1])
    pose = entry(person(0, 1))
    train = write_json(tmp_path / "p.json", {f"./train\\file_{n}": pose for n in range(2)})
    read(tmp_path / "test", file=str(train))
    said = "2 clips have the key points of a clip of their name in another folder (first: ./test\\file_0 those of"
    assert f"{said} train/file_0)" in capsys.readouterr().out
    rows = read(tmp_path / "test", file=str(write_json(tmp_path / "q.json", {f"file_{n}": pose for n in range(2)})))
    own = {row.id: {**pose, "clip": stamp(row)} for row in rows}
    read(tmp_path / "test", file=str(write_json(tmp_path / "q.json", own)))
    assert "warning" not in capsys.readouterr().out
    own[rows[1].id]["clip"] = f"7-{'0' * 32}-3"
    read(tmp_path / "test", file=str(write_json(tmp_path / "q.json", own)))
    said = "1 of 2 clips are not the files that their key points were found in (first: ./test\\file_1)"
    assert said in capsys.readouterr().out


def test_the_file_beside_a_clip_comes_before_one_of_its_name_in_the_folder_above(tmp_path):
    entries = write_posed_clips(tmp_path / "clips", [0, 1], 1)
    for row_id, pose in entries.items():
        write_json((tmp_path / "clips" / row_id).with_suffix(".json"), pose)
    write_json(tmp_path / "clips" / "k0_0.json", entries["k1/k1_0.mp4"])
    assert [Path(row.pose.source).parent.name for row in read(tmp_path / "clips")] == ["k0", "k1"]


def test_a_number_behind_a_point_is_a_part_of_a_clips_name(tmp_path):
    for take in (1, 2):
        frame = tmp_path / "clips" / "k0" / f"take.{take}" / "0.png"
        frame.parent.mkdir(parents=True)
        Image.fromarray(np.full((8, 8, 3), take, np.uint8)).save(frame)
        write_json(frame.parent.with_name(f"take.{take}.json"), entry(person(0, take)))
    one, two = read(tmp_path / "clips")
    assert one.pose.source.endswith("take.1.json") and two.pose.source.endswith("take.2.json")
    assert Finder({"k0/take": 0, "k0/take.2": 2}).find("k0/take.1") is None


def test_poses_come_from_a_file_of_all_clips_from_beside_each_and_from_the_competitions_json(tmp_path):
    entries = write_posed_clips(tmp_path / "clips", [0, 1], 2)
    write_json(tmp_path / "poses.json", entries)
    one = read(tmp_path / "clips", file=str(tmp_path / "poses.json"))
    for row in one:
        write_json(row.path.with_suffix(".json"), entries[row.id])
    two = read(tmp_path / "clips")
    assert all(np.array_equal(a.pose.points, b.pose.points, equal_nan=True) for a, b in zip(one, two, strict=True))
    assert [row.label for row in one] == [0, 1, 0, 1] and one[0].pose.size == (320, 240) and not one[0].pixels
    write_competition(tmp_path / "dacon", [0, 1])
    for number, pose in enumerate(list(entries.values())[:2]):
        record = tmp_path / "dacon" / f"file_{number}" / f"file_{number}.json"
        flat = [None if f is None else [f"{v:.2f}" for p in f for v in p] for f in pose["2d_pos"]]
        write_json(record, {"action": number, "sequence": {"2d_pos": flat}})
    three = read(tmp_path / "dacon")
    assert np.allclose(three[1].pose.points, one[1].pose.points, atol=0.01)


def test_a_folder_of_pose_files_is_read_whole(tmp_path):
    entries = write_posed_clips(tmp_path / "clips", [0, 1], 2)
    (tmp_path / "poses").mkdir()
    for number, (key, value) in enumerate(entries.items()):
        write_json(tmp_path / "poses" / f"{number}.json", {key: value})
    assert all(row.pose is not None for row in read(tmp_path / "clips", file=str(tmp_path / "poses")))


def test_a_clip_without_anybody_has_the_others_points_all_missing_and_is_named(tmp_path, capsys):
    entries = write_posed_clips(tmp_path / "clips", [0, 1], 2)
    entries["k0/k0_1.mp4"]["2d_pos"] = [None] * 12
    rows = read(tmp_path / "clips", file=str(write_json(tmp_path / "p.json", entries)))
    pose = next(row.pose for row in rows if row.id == "k0/k0_1.mp4")
    assert pose.points.shape == (12, 9, 3) and not pose.found.any()
    assert "12 of 48 frames have no key points" in (printed := capsys.readouterr().out) and "k0/k0_1.mp4" in printed


BAD = {
    "no-list": ({"2d_pos": [5]}, ["frame 0", "a list of key points"]),
    "zero-frames": ({"2d_pos": []}, ["holds no frames"]),
    "no-number": ({"2d_pos": [[[1, "x", 1]] * 9]}, ["frame 0, point 0", "'x' is no number"]),
    "flat-no-number": ({"2d_pos": [[1, "x", 1] * 9]}, ["frame 0, number 1", "'x' is no number"]),
    "a-bool": ({"2d_pos": [[[1, True, 1]] * 9]}, ["True is no number"]),
    "another-count-in-a-frame": ({"2d_pos": [[[1, 2, 1]] * 9, [[1, 2, 1]] * 8]}, ["frame 1", "24 numbers", "27"]),
    "another-count-in-a-clip": ({"2d_pos": [[[1, 2, 1]] * 8]}, ["8 key points", "3 of 4 clips have 9"]),
    "points-of-four": ({"2d_pos": [[[1, 2, 3, 4]] * 9]}, ["2 or 3 numbers"]),
    "a-prime-number": ({"2d_pos": [[1.0] * 25]}, ["25 numbers", "2 or 3 a point"]),
    "flat-another-count": ({"2d_pos": [[1.0] * 30]}, ["has 30 numbers a frame", "other clips have 9 points"]),
    "beyond-all-frames": ({"2d_pos": [[[1, 1e300, 1]] * 9]}, ["frame 0, point 0", "1e+300 is no place"]),
    "infinite": ({"2d_pos": [[float("inf"), 1, 1] * 9]}, ["frame 0, number 0", "inf is no place"]),
    "size-no-list": ({"size": 320, "2d_pos": [[[1, 2, 1]] * 9]}, ["key size: is 320", "width and height"]),
    "size-of-one": ({"size": [3], "2d_pos": [[[1, 2, 1]] * 9]}, ["key size", "width and height"]),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_pose_is_one_sentence_that_names_clip_and_place(tmp_path, case):
    content, fragments = BAD[case]
    entries = write_posed_clips(tmp_path / "clips", [0, 1], 2)
    entries["k1/k1_1.mp4"] = content
    path = write_json(tmp_path / "poses.json", entries)
    with pytest.raises(InputError) as error:
        read(tmp_path / "clips", file=str(path))
    for fragment in ["poses.json", "k1/k1_1.mp4", *fragments]:
        assert fragment in str(error.value)


def test_clips_without_poses_among_clips_with_and_a_file_of_other_clips_are_refused(tmp_path):
    entries = write_posed_clips(tmp_path / "clips", [0, 1], 2)
    path = write_json(tmp_path / "p.json", {key: value for key, value in entries.items() if key != "k1/k1_0.mp4"})
    with pytest.raises(InputError, match=r"k1_0.mp4: has no key points, 3 other clips have them \(1 have none\)"):
        read(tmp_path / "clips", file=str(path))
    with pytest.raises(InputError, match="holds the poses of other clips"):
        read(tmp_path / "clips", file=str(write_json(tmp_path / "q.json", {"z/z.mp4": entries["k0/k0_0.mp4"]})))
    with pytest.raises(InputError, match="no clip has key points"):
        read(tmp_path / "clips")
    with pytest.raises(InputError, match="clip -> size"):
        read(tmp_path / "clips", file=str(write_json(tmp_path / "r.json", [1])))
    assert read(tmp_path / "clips", optional=True)[0].pose is None


def test_layouts_have_as_many_points_as_their_names_say_pairs_and_one_tree():
    for name in LAYOUTS:
        layout = read_layout(name)
        assert name.endswith(str(len(layout.names)))
        assert sum(i == parent for i, parent in enumerate(layout.parents)) == 1
        assert all(layout.names[a][5:] == layout.names[b][6:] for a, b in layout.pairs)
    assert len(read_layout("blazepose33").pairs) == 16 and len(read_layout("coco17").pairs) == 8


GRAPHS = {
    "circle": ({"names": POINTS, "parents": [1, 3, 0, 0, 2, 3, 4, 1, 2]}, "circle"),
    "another-count": ({"names": POINTS, "parents": PARENTS[:-1]}, "8 parents for 9 names"),
    "no-name": ({"names": POINTS, "parents": ["nobody", *PARENTS[1:]]}, "'nobody' of head"),
    "beyond": ({"names": POINTS, "parents": [9, *PARENTS[1:]]}, "9 of head"),
    "twice": (["a", "b", "a"], "'a' occurs twice"),
    "no-names": ({"parents": [0]}, "a list of names"),
}


@pytest.mark.parametrize("case", GRAPHS)
def test_names_and_graphs_that_are_none_are_one_sentence(tmp_path, case):
    content, fragment = GRAPHS[case]
    with pytest.raises(InputError, match=fragment):
        read_layout(str(write_json(tmp_path / "names.json", content)))
    with pytest.raises(InputError, match="neither one of coco17"):
        read_layout("coco18")


def test_names_by_name_by_number_or_null_are_the_same_graph(tmp_path):
    by_name = [None, *(POINTS[parent] for parent in PARENTS[1:])]
    for parents in (PARENTS, by_name):
        layout = read_layout(str(write_json(tmp_path / "n.json", {"names": POINTS, "parents": parents})))
        assert layout.parents == PARENTS and layout.pairs == [(1, 2), (3, 4), (5, 6), (7, 8)]
    assert read_layout(str(write_json(tmp_path / "n.json", POINTS))).parents is None


def test_names_of_another_count_are_refused(tmp_path):
    path = write_json(tmp_path / "p.json", write_posed_clips(tmp_path / "clips", [0, 1], 2))
    with pytest.raises(InputError, match="has 9 key points in a frame, the model or the names have 17"):
        read(tmp_path / "clips", file=str(path), names="coco17")


def test_a_pair_in_the_wrong_order_is_seen_beside_the_others(tmp_path):
    layout = read_layout(str(write_json(tmp_path / "n.json", POINTS)))
    points = [person(0, seed) for seed in range(4)]
    assert swapped_pairs(points, layout) == []
    for clip in points:
        clip[:, [7, 8]] = clip[:, [8, 7]]
    assert swapped_pairs(points, layout) == ["left_hip and right_hip"]


def test_the_persons_box_holds_all_points_with_a_margin_and_is_smooth():
    points = person(2, 3, frames=30)
    boxes = person_boxes(Pose(points.astype(np.float32), (320, 240), "f"))
    xy = points[..., :2]
    assert (boxes[15, :2] < xy[15].min(0)).all() and (boxes[15, 2:] > xy[15].max(0)).all()
    assert np.abs(np.diff(boxes, axis=0)).max() < np.abs(np.diff(xy[:, 5], axis=0)).max()
    with pytest.raises(InputError, match="no width and height"):
        person_boxes(Pose(points.astype(np.float32), None, "f"))


def test_points_as_shares_of_the_frame_crop_as_those_in_pixels_do():
    points = np.random.default_rng(0).uniform(40, 200, (6, 17, 3)).astype(np.float32)
    points[2, 3] = points[4] = np.nan
    shares = points / np.array([320, 240, 1], np.float32)
    found = person_boxes(Pose(shares, (320, 240), "f"))
    np.testing.assert_allclose(found, person_boxes(Pose(points, (320, 240), "f")), rtol=1e-4)
    assert person_boxes(Pose(shares, (4, 4), "f")).max() < 2  # a frame of few pixels: these may be pixels


def test_a_pose_file_beside_a_clip_may_end_in_another_case(tmp_path):
    entries = write_posed_clips(tmp_path / "clips", [0, 1], 1)
    for clip, pose in entries.items():
        write_json((tmp_path / "clips" / clip).with_suffix(".JSON"), pose)
    assert all(row.pose is not None for row in read(tmp_path / "clips"))


def test_a_file_of_shares_without_a_size_is_refused_beside_one_of_pixels(tmp_path):
    entries = write_posed_clips(tmp_path / "clips", [0, 1], 2)
    entries["k1/k1_1.mp4"] = {
        "2d_pos": [[[x / 320, y / 240, c] for x, y, c in f] for f in entries["k1/k1_1.mp4"]["2d_pos"]]
    }
    del entries["k1/k1_0.mp4"]["size"]
    with pytest.raises(InputError, match="k1_0.mp4': its key points are pixels, other clips have shares"):
        read(tmp_path / "clips", file=str(write_json(tmp_path / "p.json", entries)))
    entries["k1/k1_1.mp4"]["size"] = [320, 240]
    wish = {**WISH, "file": str(write_json(tmp_path / "p.json", entries))}
    read_examples(tmp_path / "clips", {"label_names": None, "group_by_number": 1, "poses": wish})
    assert wish["unit"] == "pixels"


def test_a_row_without_a_pose_is_a_row_as_before():
    row = ClipExample("a", Path("a.mp4"))
    assert row.pose is None and row.boxes is None and row.pixels


def test_an_entry_is_read_back_as_it_was_written():
    points = person(1, 5)
    points[3] = np.nan
    pose = read_pose(json.loads(json.dumps(entry(points))), "f")
    assert np.allclose(pose.points, points, atol=0.01, equal_nan=True)
