"""reon_face: right pixels of images and videos for training, crops and scores; what is left out is said; no file of a run or of
crops leads elsewhere or wants more memory than a machine has."""

import json
import os
import shutil
from dataclasses import asdict
from types import SimpleNamespace

import cv2
import numpy as np
import pyarrow
import pyarrow.parquet as parquet
import pytest
from PIL import Image

from common.console import InputError
from common.guards.listing import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from reon_face import data as faces_data
from reon_face.data import read_examples
from reon_face.faces import FaceCrop
from reon_face.images import check_images, open_image
from reon_face.model import load_fold, preprocessing_of
from reon_face.sample.draw import EMOTIONS
from tests.tools.faces import TASK, save_model
from tests.tools.scripts import siblings_of
from tests.tools.videos import CODECS, FORMATS, MATRICES, encode, quarters, repeated, turn


@pytest.fixture(scope="module")
def task():
    """Modules of the folder as its scripts import them."""
    with siblings_of(TASK):
        import crop
        import shards
        from scoring import watch

        yield SimpleNamespace(crop=crop, shards=shards, watch=watch)


def read(folder, label_names=None):
    return read_examples(folder, {"label_names": label_names, "subject_pattern": None})


def cut(task, source, target, *options):
    """crop.py in this process; what it wrote in crop.json."""
    argv = [
        "--input",
        source,
        "--output_dir",
        target,
        "--detector",
        "none",
        "--size",
        "32",
        "--num_workers",
        "1",
        *options,
    ]
    task.crop.main(task.crop.parse_args([*map(str, argv)]))
    return json.loads((target / "crop.json").read_text())


# Videos


@pytest.mark.parametrize("size", [(64, 48), (320, 240), (1280, 720)], ids=str)
@pytest.mark.parametrize("how", MATRICES)
def test_a_phones_video_is_cropped_and_scored_as_a_player_shows_it(how, size, task, tmp_path):
    width, height = size
    matrix, shown = MATRICES[how]
    path = turn(encode(tmp_path / "v.mp4", [quarters(height, width)] * 3), matrix(width, height))
    expected = shown(quarters(height, width)).astype(int)
    for number, (frame_number, frame, reduced) in enumerate(task.shards.frames_of(path)):
        assert (frame_number, reduced) == (number, 1) and frame.flags.c_contiguous
        assert frame.shape == expected.shape and np.abs(frame[..., ::-1] - expected).mean() < 12
    assert number == 2
    for _, frame in task.watch.read_frames(path):
        assert frame.shape == expected.shape and np.abs(frame - expected).mean() < 12


@pytest.mark.parametrize("how", MATRICES)
def test_so_is_one_in_matroska(how, task, tmp_path):
    matrix, shown = MATRICES[how]
    path = encode(tmp_path / "v.mkv", [quarters(240, 320)] * 3, "libx264", matrix=matrix(320, 240))
    expected = shown(quarters(240, 320)).astype(int)
    for _, frame, _ in task.shards.frames_of(path):
        assert frame.shape == expected.shape and np.abs(frame[..., ::-1] - expected).mean() < 12


@pytest.mark.parametrize("suffix", VIDEO_SUFFIXES)
def test_every_ending_of_videos_is_cropped_frame_by_frame(suffix, task, tmp_path):
    codec = CODECS.get(suffix, "mpeg4")
    images = [np.full((144, 176, 3), 20 + 10 * k, np.uint8) for k in range(12)]
    (tmp_path / "in").mkdir()
    encode(
        tmp_path / "in" / f"v{suffix.upper()}",
        images,
        codec,
        25 if codec.startswith("mpeg") else 8,
        format=FORMATS.get(suffix),
    )
    record = cut(task, tmp_path / "in", tmp_path / "crops", "--every", "5")
    assert record["broken"] == {} and record["rows"] == 3
    rows = read(tmp_path / "crops")
    assert [row.id for row in rows] == [f"v{suffix.upper()}#{number}" for number in (0, 5, 10)]
    levels = [np.asarray(open_image(row.path, row.row)).mean() for row in rows]
    assert levels == pytest.approx([20, 70, 120], abs=4)


def test_a_video_of_ten_hours_is_not_scored_and_its_frames_are_not_counted(task, tmp_path):
    path = repeated(tmp_path / "v.mp4", 36_000, "mpeg4", rate=1)
    with pytest.raises(InputError, match=r"v.mp4: .*longer than 60 minutes; cut the scene out of it"):
        next(task.watch.read_frames(path))


def test_a_video_that_does_not_say_how_long_it_is_ends_at_the_limit_too(task, tmp_path, monkeypatch):
    path = encode(tmp_path / "v.mp4", [quarters(48, 64)] * 8, rate=4)
    frames = list(task.watch.read_frames(path))
    assert len(frames) == 20
    monkeypatch.setattr(task.watch, "LONGEST", 1)
    monkeypatch.setattr(task.watch.av, "time_base", 10**12)  # as if its header said nearly nothing
    with pytest.raises(InputError, match="v.mp4: .*longer than"):
        list(task.watch.read_frames(path))


def test_of_a_long_video_one_frame_at_a_time_is_in_memory(task, tmp_path):
    frames = task.shards.frames_of(repeated(tmp_path / "v.mp4", 100_000, "mpeg4"), every=1000)
    assert [next(frames)[0] for _ in range(3)] == [0, 1000, 2000]


# Images


@pytest.mark.parametrize("suffix", IMAGE_SUFFIXES)
def test_every_ending_of_images_is_read_for_training_and_for_crops(suffix, task, tmp_path):
    kind = {
        ".apng": "PNG",
        ".jpe": "JPEG",
        ".jfif": "JPEG",
        ".pbm": "PPM",
        ".pgm": "PPM",
        ".pnm": "PPM",
        ".j2k": "JPEG2000",
    }
    mode = {".pbm": "1", ".pgm": "L"}.get(suffix, "RGB")
    (tmp_path / "in").mkdir()
    Image.new(mode, (32, 24), "white").save(tmp_path / "in" / f"x{suffix}", kind.get(suffix))
    (row,) = read(tmp_path / "in")
    assert open_image(row.path, row.row).size == (32, 24)
    record = cut(task, tmp_path / "in", tmp_path / "crops")
    assert record["broken"] == {} and record["rows"] == 1
    (row,) = read(tmp_path / "crops")
    assert np.asarray(open_image(row.path, row.row)).min() > 240


def test_16_bit_grey_has_its_light_for_training_and_in_crops(task, tmp_path):
    ramp = np.tile(np.arange(64, dtype=np.uint16) * 1024, (64, 1))
    (tmp_path / "in").mkdir()
    Image.fromarray(ramp).save(tmp_path / "in" / "x.png")
    assert (np.asarray(open_image(str(tmp_path / "in" / "x.png"), -1)) == (ramp >> 8)[..., None]).all()
    cut(task, tmp_path / "in", tmp_path / "crops", "--size", "64")
    (row,) = read(tmp_path / "crops")
    found = np.asarray(open_image(row.path, row.row)).astype(int)
    assert np.abs(found - (ramp >> 8)[..., None]).mean() < 4


def test_what_cannot_be_read_rightly_is_refused_for_training_and_listed_by_crop(task, tmp_path):
    folder = tmp_path / "in" / "happy"
    folder.mkdir(parents=True)
    Image.fromarray(np.zeros((48, 64), np.float32)).save(folder / "x.tif")
    Image.new("RGB", (32, 24)).save(folder / "y.png")
    with pytest.raises(InputError, match="x.tif: .*floating-point values"):
        check_images(read(tmp_path / "in"), None)
    record = cut(task, tmp_path / "in", tmp_path / "crops")
    assert record["rows"] == 1
    assert record["broken"]["happy/x.tif"].startswith("cannot be decoded as an image (floating-point values")


def test_pillow_and_opencv_read_the_same_pixels_of_a_jpeg(task, tmp_path):
    pixels = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (1300, 1500, 3)).astype(np.uint8), (0, 0), 6)
    cv2.imwrite(str(tmp_path / "x.jpg"), pixels)
    ((number, image, reduced),) = task.shards.frames_of(tmp_path / "x.jpg")
    expected = cv2.imread(str(tmp_path / "x.jpg"), cv2.IMREAD_REDUCED_COLOR_2)
    assert (number, reduced, image.shape) == (-1, 2, expected.shape)
    assert np.abs(image.astype(int) - expected).max() <= 2


# Listing


def test_what_is_left_out_is_one_line_for_training_and_for_crops(task, tmp_path, capsys):
    for name in ("happy/1.png", "sad/2.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 24)).save(tmp_path / "in" / name)
    for name in ("happy/x.heic", "sad/y.HEIC", "notes.txt", "sad/v.rm"):
        (tmp_path / "in" / name).touch()
    for name in (".DS_Store", "happy/._1.png", "__MACOSX/happy/1.png", "sad/Thumbs.db"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    expected = "in: 4 files are left out: 2 .heic, 1 .rm, 1 .txt\n"
    rows = read(tmp_path / "in")
    assert sorted(row.id for row in rows) == ["happy/1.png", "sad/2.png"] and rows.label_names == ["happy", "sad"]
    assert capsys.readouterr().out == expected
    assert cut(task, tmp_path / "in", tmp_path / "crops")["sources"] == 2
    assert capsys.readouterr().out.startswith(expected)


def test_a_folder_of_unreadable_images_says_what_it_holds(task, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "1.heic").touch()
    with pytest.raises(InputError, match=r"holds no images \(1 file is left out: 1 .heic\)"):
        read(tmp_path / "in")
    with pytest.raises(InputError, match=r"holds no images and no videos \(1 file is left out: 1 .heic\)"):
        cut(task, tmp_path / "in", tmp_path / "crops")


def test_a_pipe_among_images_is_refused_and_not_waited_for(task, tmp_path):
    (tmp_path / "in").mkdir()
    os.mkfifo(tmp_path / "in" / "1.png")
    for start in (lambda: read(tmp_path / "in"), lambda: cut(task, tmp_path / "in", tmp_path / "crops")):
        with pytest.raises(InputError, match="1.png: is a pipe, a file was expected"):
            start()


# Files that say where others are, and how large


@pytest.fixture(scope="module")
def crops(task, tmp_path_factory):
    folder = tmp_path_factory.mktemp("crops")
    for label in ("happy", "sad"):
        (folder / "in" / label).mkdir(parents=True)
        Image.new("RGB", (32, 24), "red").save(folder / "in" / label / "1.png")
    cut(task, folder / "in", folder / "crops")
    return folder / "crops"


def changed(crops, folder, **values):
    """A copy of the crops whose crop.json says something else."""
    copy = shutil.copytree(crops, folder / "copy")
    record = json.loads((copy / "crop.json").read_text())
    (copy / "crop.json").write_text(json.dumps(record | values))
    return copy


SHARD = "shard-00000.parquet"


@pytest.mark.parametrize(
    "name",
    [
        "../elsewhere/" + SHARD,
        "ABSOLUTE",
        "../copy/" + SHARD,
        "./" + SHARD,
        "..",
        ".",
        "",
        "link.parquet",
        "folder/" + SHARD,
    ]
    + ["through/" + SHARD, "http://127.0.0.1:9/x.parquet", "gone.parquet", "x\0.parquet", 7, None],
    ids=repr,
)
def test_a_crop_json_that_names_a_shard_elsewhere_is_refused(name, crops, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(crops / SHARD, tmp_path / "elsewhere")
    name = str(tmp_path / "elsewhere" / SHARD) if name == "ABSOLUTE" else name
    copy = changed(crops, tmp_path, shards=[SHARD, name])
    (copy / "link.parquet").symlink_to(tmp_path / "elsewhere" / SHARD)
    (copy / "through").symlink_to(tmp_path / "elsewhere")
    (copy / "folder").mkdir()
    shutil.copy(crops / SHARD, copy / "folder")
    with pytest.raises(InputError, match=r"crop.json: ") as caught:
        read(copy)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("shards", SHARD),
        ("shards", {SHARD: 1}),
        ("shards", [SHARD, SHARD]),
        ("label_names", "happy"),
        ("label_names", [1, 2]),
    ]
    + [("face_crop", []), ("face_crop", None)],
    ids=repr,
)
def test_a_crop_json_of_another_kind_is_refused(key, value, crops, tmp_path):
    with pytest.raises(InputError, match=r"crop.json"):
        read(changed(crops, tmp_path, **{key: value}))


def test_a_folder_of_crops_may_be_a_link_itself(crops, tmp_path):
    (tmp_path / "link").symlink_to(crops)
    assert [row.id for row in read(tmp_path / "link")] == [row.id for row in read(crops)]


def test_a_row_group_that_wants_much_memory_is_refused_from_its_header(crops, tmp_path, monkeypatch):
    copy = changed(crops, tmp_path)
    table = parquet.read_table(copy / SHARD)
    many = pyarrow.concat_tables([table] * 40_000)
    parquet.write_table(many, copy / SHARD, row_group_size=len(many))
    with pytest.raises(InputError, match=rf"{SHARD}: cannot be read \(row group 0 has 80,000 rows"):
        read(copy)
    parquet.write_table(table, copy / SHARD)
    monkeypatch.setattr(faces_data, "GROUP_BYTES", 100)
    with pytest.raises(InputError, match=rf"{SHARD}: cannot be read \(row group 0 has 2 rows of [\d,]+ bytes"):
        read(copy)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model"))


@pytest.mark.parametrize(
    ("where", "key", "value", "said"),
    [
        ("pretrained_cfg", "input_size", [3, 200_000, 200_000], "input_size|image size"),
        ("pretrained_cfg", "input_size", [3, 0, 0], "input_size|image size"),
        ("pretrained_cfg", "input_size", [3, "64", "64"], "input_size|image size"),
        ("pretrained_cfg", "input_size", [], "input_size|image size|no pretrained_cfg"),
        ("pretrained_cfg", "std", [0, 1, 1], "std"),
        ("pretrained_cfg", "mean", [float("nan")] * 3, "mean"),
        ("pretrained_cfg", "mean", 0.5, "mean|no pretrained_cfg"),
        ("face_crop", "padding", 1e9, "padding"),
        ("face_crop", "padding", float("nan"), "padding"),
        ("face_crop", "padding", "1", "padding"),
    ],
)
def test_a_config_that_asks_for_what_no_memory_holds_is_refused(where, key, value, said, model, task, tmp_path):
    folder = shutil.copytree(model, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    config[where][key] = value
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=rf"config.json.*({said})"):
        preprocessing_of(folder)
    with pytest.raises(InputError, match=rf"config.json.*({said})"):
        load_fold(folder, "cpu", EMOTIONS)
    described = asdict(preprocessing_of(model)) | {"label_names": EMOTIONS, "model": "model.onnx"}
    name = {"input_size": "image_size"}.get(key, key)
    changed = {**described, name: value[-1] if key == "input_size" and value else value}
    if where == "face_crop":
        changed = described | {"face_crop": asdict(FaceCrop()) | {key: value}}
    (tmp_path / "model.json").write_text(json.dumps(changed))
    with pytest.raises(InputError, match="model.json: its "):
        task.watch.load_classifier(tmp_path)
