"""Folders of clips as rows: the competition's layout (Dacon 235806), and a folder for each class."""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from common.console import InputError, print_once
from common.files import natural, read_json_data
from common.guards import listing
from common.guards.spelling import nfc
from common.tables import read_table
from common.tables.media import found_as
from common.targets import as_target

VIDEO_SUFFIXES = (*listing.VIDEO_SUFFIXES, ".gif")
IMAGE_SUFFIXES = tuple(suffix for suffix in listing.IMAGE_SUFFIXES if suffix != ".gif")
ACTIONS_FILE = "action_information.csv"  # columns action, Label: the competition's list of classes


@dataclass
class ClipExample:
    """One video: a file, or a folder and its images in order. label: -1 where unknown. group: clips of one group stay
    in one fold.

    box: x1, y1, x2, y2 in pixels around the person in all frames, None where unknown. pose: key points, a Pose of
    poses.py, where something reads them. boxes: (F, 4) around these, where they crop the frames. pixels: whether
    anything reads the frames.
    """

    id: str
    path: Path
    frames: list[Path] = field(default_factory=list)
    label: int = -1
    group: str = ""
    box: tuple[float, float, float, float] | None = None
    pose: Any = None
    boxes: np.ndarray | None = None
    pixels: bool = True


class Clips(list[ClipExample]):
    """The rows of a folder, and the names of their labels."""

    def __init__(self, rows: Iterable[ClipExample], label_names: Sequence[str]):
        super().__init__(rows)
        self.label_names = as_target(label_names)


def read_competition(
    folder: Path, records: list[Path], label_names: Sequence[str] | None
) -> tuple[list[ClipExample], list[str]]:
    """file_N.json and its frames: folder file_N, or file_N.mp4. The id is the sample submission's:
    ./<folder>\\file_N."""
    clips = []
    without_box = 0
    name = os.path.basename(os.path.abspath(folder))  # the folder may be `.`
    for record in records:
        content = read_json_data(record)
        if not isinstance(content, dict):
            raise InputError(f"{record}: a JSON object with action and sequence was expected")
        frames = find_frames(folder, record)
        label = content.get("action", -1)
        if not isinstance(label, int) or isinstance(label, bool) or label < -1:
            raise InputError(f"{record}, key action: {label!r:.80} is not the number of a class")
        box, empty = read_box(record, content)
        without_box += empty
        clips.append(ClipExample(f"./{name}\\{record.stem}", frames, label=label, box=box))
    of_record = {clip.path for clip in clips}
    strays = [
        p for p in visible(folder) if p not in of_record and (is_clip(p) or p.is_dir() and p.name.startswith("file_"))
    ]
    if strays:
        raise InputError(
            f"{strays[0]}: has no {strays[0].stem}.json, expected one for each clip ({len(strays)} have none)"
        )
    if without_box:
        print_once(f"{name}: {without_box} frames have the box 0, 0, 0, 0, which is left out")
    names = list(label_names) if label_names is not None else read_actions(folder, clips)
    for clip, record in zip(clips, records, strict=True):
        if clip.label >= 0:  # by its name: those of train_file may be folders, in the order of their names
            if str(clip.label) not in names:
                raise InputError(f"{record}, key action: {clip.label} is none of the classes {', '.join(names)}")
            clip.label = names.index(str(clip.label))
    return clips, names


def find_frames(folder: Path, record: Path) -> Path:
    """The folder of frames or the video, its ending in any case, that belongs to file_N.json. Raises InputError where
    there is none."""
    for candidate in found_as(folder, (record.stem,), VIDEO_SUFFIXES):
        if candidate.is_dir() or listing.is_regular(candidate):
            return candidate
    raise InputError(f"{record}: has no frames, expected the folder {folder / record.stem} or {record.stem}.mp4 in it")


def read_actions(folder: Path, clips: list[ClipExample]) -> list[str]:
    """Names of the classes: the numbers of action_information.csv beside or in the folder (action or Label, the other
    is text), or 0 to the largest action. Raises InputError where they are not 0 to K - 1."""
    for path in (folder.parent / ACTIONS_FILE, folder / ACTIONS_FILE):
        if path.exists():
            table = read_table(path)
            header, rows = table.header, table.rows
            if header != ["action", "Label"]:
                raise InputError(f"{path}, row 1: columns are {','.join(header)}, expected action,Label")
            columns = [sorted(fields[i] for _, fields in rows) for i in range(2)]
            if not rows or sorted(map(str, range(len(rows)))) not in columns:
                raise InputError(f"{path}: neither column has the numbers 0 to K - 1 of its {len(rows)} classes")
            return [str(number) for number in range(len(rows))]
    return [str(number) for number in range(max((clip.label for clip in clips), default=-1) + 1)]


def read_box(record: Path, content: dict) -> tuple[tuple[float, float, float, float] | None, int]:
    """What sequence.bounding_box, per frame [x1, y1, x2, y2] in pixels (numbers or strings), covers in all frames, and
    how many frames have 0, 0, 0, 0: there nobody was found."""
    sequence = content.get("sequence") or {}
    boxes = sequence.get("bounding_box") if isinstance(sequence, dict) else None
    if not boxes:
        return None, 0
    try:
        corners = np.array(boxes, dtype=np.float64)
    except (ValueError, TypeError):
        corners = np.empty(0)
    if corners.ndim != 2 or corners.shape[1] != 4 or not np.isfinite(corners).all():
        raise InputError(f"{record}, key sequence.bounding_box: four numbers per frame were expected")
    empty = (corners == 0).all(axis=1)
    if empty.all():
        return None, len(corners)
    corners = corners[~empty]
    x1, y1, x2, y2 = *corners[:, :2].min(axis=0), *corners[:, 2:].max(axis=0)
    if x2 <= x1 or y2 <= y1:
        raise InputError(f"{record}, key sequence.bounding_box: x2 and y2 must be larger than x1 and y1")
    return (float(x1), float(y1), float(x2), float(y2)), int(empty.sum())


def read_class_folders(folder: Path, label_names: Sequence[str] | None) -> tuple[list[ClipExample], list[str]]:
    """<class>/<clip>, labels in the order of the class names; or <clip> without a class."""
    inside = visible(folder)
    flat = [ClipExample(p.name, p) for p in inside if is_clip(p)]
    classes = sorted(p for p in inside if p.is_dir() and not is_clip(p) and any(map(is_clip, visible(p))))
    for path in (folder, *(clip.path for clip in flat if clip.path.is_dir()), *classes):
        check_one_kind(path)
    others = [p for p in inside if p.is_dir() and not is_clip(p) and p not in classes]
    for path in (*others, *(q for p in classes for q in visible(p) if q.is_dir() and not is_clip(q))):
        if nested := first_clip(path):
            raise InputError(f"{nested}: lies deeper than {folder}/<class>/<clip>, where clips are expected")
    if others:
        print_once(f"{folder.name}: no clips in {', '.join(p.name for p in others)}")
    if flat and classes:
        raise InputError(
            f"{folder}: holds clips ({flat[0].id}) beside folders of classes ({classes[0].name}), expected only one "
            "of them"
        )
    if flat:
        return flat, list(label_names or [])
    names = sorted({nfc(p.name) for p in classes}) if label_names is None else list(label_names)
    if unknown := [p.name for p in classes if nfc(p.name) not in names]:
        raise InputError(f"{folder / unknown[0]}: is not one of the classes of train_file ({', '.join(names)})")
    columns: dict[str, list[ClipExample]] = {name: [] for name in names}
    for p in classes:  # two folders may be one class in two spellings
        name = nfc(p.name)
        clips = [ClipExample(f"{p.name}/{q.name}", q, label=names.index(name)) for q in visible(p) if is_clip(q)]
        columns[name] += clips
    # the first of each class, then the second: --max_train_samples keeps all classes
    return [clip for row in zip_longest(*columns.values()) for clip in row if clip is not None], names


def is_clip(path: Path) -> bool:
    """A video file, or a folder that holds images."""
    if path.is_dir():
        return any(p.suffix.lower() in IMAGE_SUFFIXES and not listing.is_hidden(p.name) for p in path.iterdir())
    return path.suffix.lower() in VIDEO_SUFFIXES and listing.is_regular(path)


def check_one_kind(folder: Path) -> None:
    """Raise InputError where images stand beside clips: they would make the folder a clip, and the clips would be
    lost."""
    inside = visible(folder)
    images = [p for p in inside if p.suffix.lower() in IMAGE_SUFFIXES]
    clips = [p for p in inside if is_clip(p)]
    if images and clips:
        raise InputError(
            f"{images[0]}: is an image beside clips ({clips[0].name}); a clip is a video or a folder of images"
        )


def first_clip(folder: Path) -> Path | None:
    """A clip somewhere below a folder that is none."""
    for path in visible(folder):
        found = path if is_clip(path) else first_clip(path) if path.is_dir() else None
        if found:
            return found
    return None


def list_frames(folder: Path) -> list[Path]:
    """The images of a folder. Raises InputError for one that is no frame, since its name has no number and the others'
    have, or are one."""
    images = [path for path in visible(folder) if path.suffix.lower() in IMAGE_SUFFIXES]
    for path in images:
        listing.is_regular(path)
    for pattern in (r"\d+", r".*\d.*"):
        strays = [path for path in images if not re.fullmatch(pattern, path.stem)]
        if len(strays) < len(images):
            break
    if 0 < len(strays) < len(images):
        raise InputError(
            f"{strays[0]}: is not named as the {len(images) - len(strays)} other frames of the clip, which have numbers"
        )
    return images


def visible(folder: Path) -> list[Path]:
    """What a folder holds, 2.jpg before 10.jpg, but for what systems hide there (.ipynb_checkpoints, ._clip.mp4,
    __MACOSX). Raises InputError for a name that is not UTF-8, since no CSV could hold it."""
    paths = sorted((path for path in folder.iterdir() if not listing.is_hidden(path.name)), key=natural)
    for path in paths:
        try:
            str(path).encode()
        except UnicodeEncodeError as error:
            raise InputError(f"{str(path)!a}: its name is not UTF-8; rename it") from error
    return paths
