"""Key points of people (poses) as files hold them -> arrays, and to which clip they belong.

rows = add_poses(rows, "clips", {"file": "poses.json", ...})
rows[0].pose.points             # (F, K, 3): x, y, confidence; x and y NaN where a point was not found

Three places are known: sequence.2d_pos of the competition's file_N.json, a JSON beside a clip of the same name, and a
file of all clips (--pose_file): clip -> {"size": [width, height], "2d_pos": [frame, ...]}. A frame is null, a flat list
of 2 or 3 numbers a point (strings, too), or a list of points. Nothing here depends on what the points are called.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.console import InputError, print_once
from common.files import read_json_data
from common.guards.listing import seen_files
from common.guards.spelling import nfc
from common.tables.media import found_as

if TYPE_CHECKING:
    from clip_folders import ClipExample

KEY = "2d_pos"
MANY_MISSING = 0.5  # of a clip's frames: the clips above it are named
MOST_CONFIDENT = 2  # of what a third number may be: coordinates go beyond it, unless they are shares of the frame
LARGEST = 1e9  # of a coordinate, in any unit: float32 holds its square
FEW_PIXELS = 8  # a person's usual place is further from the corner, in pixels
BOX_MARGIN = 0.15  # of the person's height and width: hands and head end beyond the last key point
BOX_SMOOTHING = 5  # frames over which the person's box is averaged


@dataclass
class Pose:
    """One clip's key points. points: float32 (F, K, 3), x and y in pixels (or any unit), NaN where not found, and a
    third number, NaN where there is none. size: width and height of a frame in pixels, None where unknown. source:
    the file. clip: what stamp() of data.py said of the clip that they were found in, None where nobody
    wrote it down."""

    points: np.ndarray
    size: tuple[float, float] | None
    source: str
    clip: Any = None

    @property
    def found(self) -> np.ndarray:
        """(F, K) bool."""
        return np.isfinite(self.points[..., :2]).all(axis=-1)


def add_poses(rows: Sequence["ClipExample"], path: str | Path, wish: dict[str, Any]) -> set[str]:
    """Give each row its pose, in place. Returns the files that were read beside the clips.

    wish: file, a --pose_file or None; names, a --pose_names or None; points, how many a trained model has, None:
    unknown, and those of the first rows from then on; optional, whether it is all right that no row has a pose; boxes,
    whether the points crop the frames; pixels, whether anything reads the frames; taken, source -> clip of the rows
    before, which is added to; unit, that of the first rows from then on. Says how many frames have nobody. Raises
    InputError for rows without a pose among rows with, for a pose of two clips, and for what parse_pose(), settle() and
    in_unit() refuse.
    """
    entries = read_pose_files(wish["file"]) if wish["file"] else {}
    if wish["names"] is not None:
        from pose_layouts import read_layout

        wish["points"] = len(read_layout(wish["names"]).names)
    finder = Finder(entries)
    read: set[str] = set()
    poses = [find_pose(row, Path(path), finder, wish["points"], read) for row in rows]
    missing = [row for row, pose in zip(rows, poses, strict=True) if pose is None]
    if missing and len(missing) == len(rows):
        if wish["optional"] and not entries:
            return set()
        if entries:
            what = f"holds the poses of other clips (its first is {next(iter(entries))!r:.80})"
            raise InputError(f"{wish['file']}: {what}, expected {rows[0].id!r} and the others of {path}")
        raise InputError(f"{path}: no clip has key points; expected sequence.{KEY}, a JSON beside it, or a --pose_file")
    if missing:
        others = f"{len(rows) - len(missing)} other clips have them"
        raise InputError(f"{missing[0].path}: has no key points, {others} ({len(missing)} have none)")
    check_taken(rows, poses, wish.setdefault("taken", {}))
    finder.say_elsewhere(path)
    settle(poses)
    wish["points"] = check_points(poses, wish["points"])
    wish["unit"] = wish.get("unit") or common_unit(poses)
    for pose in poses:
        in_unit(pose, wish["unit"])
    for row, pose in zip(rows, poses, strict=True):
        row.pose = pose
        row.pixels = wish["pixels"]
        row.boxes = person_boxes(pose) if wish["boxes"] else None
    if shares := sum(map(are_shares, poses)):
        print_once(
            f"{Path(path).name}: the key points of {shares} clips are read as shares of the frame, not as pixels"
        )
    wish["optional"] = False  # a test file has key points, too
    say_missing(rows, path)
    return read


def check_taken(rows: Sequence["ClipExample"], poses: Sequence[Pose], taken: dict[str, Path]) -> None:
    """Raise InputError where one pose is that of two clips, of which one would learn or be judged by the other's."""
    for row, pose in zip(rows, poses, strict=True):
        clip = row.path.resolve()
        if (other := taken.setdefault(pose.source, clip)) != clip:
            raise InputError(f"{pose.source}: is found for two clips, {other} and {clip}; expected key points of each")


def check_points(poses: Sequence[Pose], wanted: int | None) -> int:
    """How many points a frame has. Raises InputError where a clip has another number of them than the names, the
    trained model, or the others."""
    counts = Counter(pose.points.shape[1] for pose in poses if pose.points.shape[1])
    if not counts and not wanted:
        raise InputError(f"{poses[0].source}: nobody is found in any frame of any of the {len(poses)} clips")
    usual = wanted or counts.most_common(1)[0][0]
    who = "the model or the names have" if wanted else f"{counts[usual]} of {len(poses)} clips have"
    for pose in poses:
        if pose.points.shape[1] == 0:  # nobody in the whole clip: as many missing points as the others have
            pose.points = np.full((len(pose.points), usual, 3), np.nan, np.float32)
        if pose.points.shape[1] != usual:
            raise InputError(f"{pose.source}: has {pose.points.shape[1]} key points in a frame, {who} {usual}")
    return usual


def say_missing(rows: Sequence["ClipExample"], path: str | Path) -> None:
    """One line on frames without a person, and which clips have few with one."""
    shares = [1 - row.pose.found.any(axis=1).mean() for row in rows]
    total = sum(len(row.pose.points) for row in rows)
    empty = sum(int((~row.pose.found.any(axis=1)).sum()) for row in rows)
    few = [row.id for row, share in zip(rows, shares, strict=True) if share > MANY_MISSING]
    if empty:
        names = f"; in more than half of the frames of {len(few)}: {', '.join(few[:5])}" if few else ""
        print_once(f"{Path(path).name}: {empty} of {total} frames have no key points, the nearest stand in{names}")


def read_pose_files(path: str | Path) -> dict[str, tuple[Any, str]]:
    """Clip -> (content, file) of a --pose_file, or of all JSON files in a folder of them. Raises InputError."""
    path = Path(path)
    files = [Path(file) for file in seen_files(path) if file.lower().endswith(".json")] if path.is_dir() else [path]
    entries: dict[str, tuple[Any, str]] = {}
    for file in files:
        content = read_json_data(file)
        if not isinstance(content, dict) or not content:
            raise InputError(f"{file}: an object of clip -> size and {KEY} was expected")
        for key, value in content.items():
            key = nfc(key)
            if key in entries and entries[key][0] != value:
                raise InputError(f"{file}, clip {key!r:.80}: has other poses in {entries[key][1]}, expected it once")
            entries[key] = value, f"{file}, clip {key!r:.80}"
    if not entries:
        raise InputError(f"{path}: holds no JSON file of poses")
    return entries


class Finder:
    """Entries of a --pose_file by what a clip may be called there: its id, with or without suffix, or its name alone
    where only one entry has it. elsewhere: (id, entry) of the clips that were found so in another folder."""

    def __init__(self, entries: dict[str, tuple[Any, str]]):
        self.by_key = {key.replace("\\", "/").removeprefix("./"): entry for key, entry in entries.items()}
        names = Counter(name for key in self.by_key for name in set(names_of(key)))
        self.by_name = {name: key for key in self.by_key for name in names_of(key) if names[name] == 1}
        self.elsewhere: list[tuple[str, str]] = []

    def find(self, row_id: str) -> tuple[Any, str] | None:
        key = nfc(row_id).replace("\\", "/").removeprefix("./")
        for name in (key, without_ending(key)):
            if name in self.by_key:
                return self.by_key[name]
        for name in names_of(key):
            if name in self.by_name:
                found = self.by_name[name]
                if not same_folders(key, found):
                    self.elsewhere.append((row_id, found))
                return self.by_key[found]
        return None

    def say_elsewhere(self, path: str | Path) -> None:
        """One line on clips whose key points are those of a clip of this name in another folder: perhaps not theirs."""
        if self.elsewhere:
            clip, entry = self.elsewhere[0]
            where = f"{len(self.elsewhere)} clips have the key points of a clip of their name in another folder"
            print_once(f"warning: {Path(path).name}: {where} (first: {clip} those of {entry})")


def names_of(key: str) -> tuple[str, str]:
    """The name of a clip without its folders, as it is and without its ending."""
    return Path(key).name, without_ending(Path(key).name)


def without_ending(name: str) -> str:
    """k0/a of k0/a.mp4; a number behind a point is a part of the name, as in take.2."""
    suffix = Path(name).suffix
    return name if suffix[1:].isdecimal() else name.removesuffix(suffix)


def same_folders(one: str, other: str) -> bool:
    """Whether two keys lie in folders of the same names, as far as both name some: clips/k0/a and k0/a."""
    folders = (reversed(Path(key).parent.parts) for key in (one, other))
    return all(a == b for a, b in zip(*folders, strict=False))


def find_pose(row: "ClipExample", folder: Path, finder: Finder, wanted: int | None, read: set[str]) -> Pose | None:
    """The pose of a row, of the --pose_file first; None where there is none. read: the files beside clips, added to."""
    if entry := finder.find(row.id):
        return parse_pose(*entry, wanted)
    stem = row.path.name if row.path.is_dir() else row.path.stem
    for place in (row.path.parent, row.path, folder):
        for record in found_as(place, (f"{stem}.json",), ()):
            content = read_json_data(record)
            if frames_of(content) is not None:
                read.add(str(record))
                return parse_pose(content, str(record), wanted)
    return None


def frames_of(content: Any) -> Any:
    """What stands under 2d_pos, in an object or in its sequence; a list itself."""
    if isinstance(content, list):
        return content
    if isinstance(content, dict):
        if KEY in content:
            return content[KEY]
        sequence = content.get("sequence")
        if isinstance(sequence, dict):
            return sequence.get(KEY)
    return None


def read_pose(content: Any, source: str, wanted: int | None = None) -> Pose:
    """The key points of one clip alone: parse_pose(), and settle() by its own frames."""
    pose = parse_pose(content, source, wanted)
    settle([pose])
    return pose


def parse_pose(content: Any, source: str, wanted: int | None = None) -> Pose:
    """The key points of one clip. wanted: the number of points where it is known, which tells 2 from 3 numbers a point.

    points are (F, numbers) where the frames are flat lists of which nothing says yet how many numbers a point has, for
    settle(). Raises InputError for a clip without frames, frames that are no lists or of different lengths, and what is
    no number.
    """
    frames = frames_of(content)
    if not isinstance(frames, list) or not frames:
        raise InputError(f"{source}, key {KEY}: holds no frames, expected one list (or null) for each")
    tables = [None if not frame else read_frame(frame, f"{source}, frame {i}") for i, frame in enumerate(frames)]
    size = read_size(content, source)
    clip = content.get("clip") if isinstance(content, dict) else None
    known = [(i, table) for i, table in enumerate(tables) if table is not None]
    if not known:  # nobody is seen in the whole clip: the others say how many points there are
        return Pose(np.full((len(frames), wanted or 0, 3), np.nan, np.float32), size, source, clip)
    first, table = known[0]
    for i, other in known:
        if other.shape != table.shape:
            what = f"has {other.size} numbers, frame {first} has {table.size}"
            raise InputError(f"{source}, frame {i}: {what}; expected as many points in each")
    values = np.full((len(frames), *table.shape), np.nan, np.float32)
    values[[i for i, _ in known]] = np.stack([table for _, table in known])
    if values.ndim == 3:
        return Pose(as_points(values), size, source, clip)
    width = values.shape[1]
    if width % 2 and width % 3:
        raise InputError(f"{source}, frame {first}: has {width} numbers, expected 2 or 3 a point")
    if width % 6 == 0 and wanted is None:
        return Pose(values, size, source, clip)
    dims = 2 if width % 3 or width == 2 * (wanted or 0) else 3
    return Pose(as_points(values.reshape(len(values), -1, dims)), size, source, clip)


def settle(poses: Sequence[Pose]) -> None:
    """Say of flat frames whose length fits 2 and 3 numbers a point, in place, which it is: by the number of points that
    fits all clips, else by all frames of all clips: 3, where every third number is a confidence from 0 to 1, or COCO's
    visibility 0, 1, 2, and the others are not. Raises InputError where that does not tell, or no number fits."""
    flat = [pose for pose in poses if pose.points.ndim == 2]
    if not flat:
        return
    counts = {pose.points.shape[1] for pose in poses if pose.points.ndim == 3} - {0}
    possible = set.intersection(*({pose.points.shape[1] // dims for dims in (2, 3)} for pose in flat))
    if len(counts) == 1:
        possible &= counts
    if not possible:
        widths = {pose.points.shape[1]: pose for pose in flat}
        width, pose = next(iter(widths.items()))
        others = f"{min(counts)} points" if counts else f"{' or '.join(str(w) for w in widths if w != width)} numbers"
        raise InputError(
            f"{pose.source}: has {width} numbers a frame, other clips have {others}; expected as many points"
        )
    if len(possible) == 1:
        (usual,) = possible
    else:
        usual = flat[0].points.shape[1] // 3
        check_triples(flat)
    for pose in flat:
        pose.points = as_points(pose.points.reshape(len(pose.points), usual, -1))


def check_triples(flat: Sequence[Pose]) -> None:
    """Raise InputError where not every third number of these clips is a confidence and the others are places."""
    triples = np.concatenate([pose.points.reshape(-1, 3) for pose in flat])
    third = triples[np.isfinite(triples[:, 2]), 2]
    is_confidence = ((third >= 0) & (third <= 1)).all() or np.isin(third, (0, 1, 2)).all()
    if not is_confidence or not np.nanmax(np.abs(triples[:, :2]), initial=0) > MOST_CONFIDENT:
        width = flat[0].points.shape[1]
        what = f"has {width} numbers a frame, which are {width // 3} points of 3 or {width // 2} of 2"
        raise InputError(f"{flat[0].source}: {what}, and they do not say which; give --pose_names, a name a point")


def as_points(values: np.ndarray) -> np.ndarray:
    """(F, K, 3) of (F, K, 2 or 3), NaN where a point is missing: null, 0 0, or a confidence of 0."""
    points = np.full((*values.shape[:2], 3), np.nan, np.float32)
    points[..., : values.shape[2]] = values
    xy = points[..., :2]
    gone = ~np.isfinite(xy).all(axis=-1) | (xy == 0).all(axis=-1) | (points[..., 2] == 0)
    points[gone] = np.nan
    return points


def read_frame(frame: Any, where: str) -> np.ndarray:
    """(numbers,) of a flat list, or (K, 2 or 3) of a list of points; null is NaN. Raises InputError."""
    if not isinstance(frame, list):
        raise InputError(f"{where}: is {frame!r:.40}, a list of key points was expected")
    lengths = {len(point) for point in frame if isinstance(point, list)}
    if not lengths:
        return np.array([number(value, f"{where}, number {i}") for i, value in enumerate(frame)])
    if (
        len(lengths) > 1
        or not lengths <= {2, 3}
        or not all(point is None or isinstance(point, list) for point in frame)
    ):
        raise InputError(f"{where}: points of 2 or 3 numbers each were expected")
    (width,) = lengths
    return np.array(
        [[number(v, f"{where}, point {k}") for v in ([None] * width if p is None else p)] for k, p in enumerate(frame)]
    )


def number(value: Any, where: str) -> float:
    """A number or a string of one, null is NaN. Raises InputError, also for one beyond LARGEST."""
    if value is None:
        return np.nan
    try:
        if isinstance(value, bool):
            raise ValueError
        result = float(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(f"{where}: {value!r:.40} is no number") from error
    if abs(result) > LARGEST:
        raise InputError(f"{where}: {value!r:.40} is no place in a frame, at most {LARGEST:g} was expected")
    return result


def read_size(content: Any, source: str) -> tuple[float, float] | None:
    """Width and height of the frames in pixels: size, or width and height in the object or its info."""
    if not isinstance(content, dict):
        return None
    info = content.get("info") if isinstance(content.get("info"), dict) else content
    size = content.get("size") or [info.get("width"), info.get("height")]
    if size == [None, None]:
        return None
    sizes = [number(value, f"{source}, key size") for value in (size if isinstance(size, list) else [])]
    if len(sizes) != 2 or not all(value > 0 for value in sizes):
        raise InputError(f"{source}, key size: is {size!r:.60}, width and height in pixels were expected")
    return sizes[0], sizes[1]


def nearest_filled(values: np.ndarray, found: np.ndarray) -> np.ndarray:
    """(F, K, ...) with each point that was not found, found (F, K) false, as in the nearest frame that has it (the
    earlier of two); a point that no frame has becomes 0."""
    frames = np.arange(len(values))
    filled = np.where(found[..., None], values, 0).astype(np.float32)
    for k in np.flatnonzero(found.any(axis=0) & ~found.all(axis=0)):
        there = np.flatnonzero(found[:, k])
        nearest = there[np.abs(frames[:, None] - there).argmin(axis=1)]
        filled[:, k] = values[nearest, k]
    return filled


def person_boxes(pose: Pose) -> np.ndarray:
    """(F, 4) x1, y1, x2, y2 around the points that are inside the frame, with a margin, averaged over BOX_SMOOTHING
    frames. Raises InputError where the frame's size is unknown or nobody is found."""
    if pose.size is None:
        raise InputError(f"{pose.source}: says no width and height, which --crop_to_person needs")
    xy = pose.points[..., :2].astype(np.float64) * (pose.size if are_shares(pose) else 1)
    inside = pose.found & (xy >= 0).all(axis=-1) & (xy <= np.array(pose.size)).all(axis=-1)
    seen = inside.sum(axis=1) >= 2
    if not seen.any():
        return np.tile([0.0, 0.0, *pose.size], (len(xy), 1))
    masked = np.where(inside[..., None], xy, np.nan)
    boxes = np.array([[*np.nanmin(m, axis=0), *np.nanmax(m, axis=0)] for m in masked[seen]])
    margin = BOX_MARGIN * (boxes[:, 2:] - boxes[:, :2])
    boxes = np.concatenate([boxes[:, :2] - margin, boxes[:, 2:] + margin], axis=1)
    filled = nearest_filled(fill_rows(boxes, seen)[:, None], seen[:, None])[:, 0]
    half = BOX_SMOOTHING // 2
    return np.array([filled[max(0, i - half) : i + half + 1].mean(axis=0) for i in range(len(filled))])


def are_shares(pose: Pose) -> bool:
    """Whether the points are shares of a frame whose size is known."""
    return pose.size is not None and unit_of(pose) == "shares"


def unit_of(pose: Pose) -> str | None:
    """shares (of the frame), where half of the points that are found lie between 0 and 1, and few below: points may lie
    beyond the frame. Else pixels, None where they may be anything, such as metres, or in a frame of few pixels."""
    xy = pose.points[pose.found][:, :2]
    if not len(xy) or pose.size is not None and min(pose.size) <= MOST_CONFIDENT * FEW_PIXELS:
        return None
    if np.median(xy.max(axis=1)) > FEW_PIXELS:
        return "pixels"
    inside = ((xy >= 0) & (xy <= 1)).all(axis=1).mean()
    return "shares" if inside >= 0.5 and (xy < 0).any(axis=1).mean() <= 0.1 else None


def common_unit(poses: Sequence[Pose]) -> str | None:
    """The unit in which the points of all these clips can be read; None where no clip says one."""
    units = {unit_of(pose) for pose in poses} - {None}
    unknown = any(pose.size is None and unit_of(pose) == "shares" for pose in poses)
    return None if not units else "shares" if unknown else "pixels"


def in_unit(pose: Pose, unit: str | None) -> np.ndarray:
    """(F, K, 2) x and y in this unit, as they are where it or theirs is None. Shares are in no shape but the frame's,
    16 wide and 9 high are both 1. Raises InputError where theirs is another and the frame's size is unknown."""
    xy = pose.points[..., :2]
    own = unit_of(pose)
    if unit is None or own is None or own == unit:
        return xy
    if pose.size is None:
        what = "shares of the frame, other clips have pixels" if own == "shares" else "pixels, other clips have shares"
        raise InputError(f"{pose.source}: its key points are {what}; expected the frame's width and height, key size")
    size = np.array(pose.size, np.float32)
    return xy * size if unit == "pixels" else xy / size


def fill_rows(values: np.ndarray, where: np.ndarray) -> np.ndarray:
    """values (n, D) at the n true places of where (F,), zeros elsewhere: (F, D)."""
    rows = np.zeros((len(where), values.shape[1]))
    rows[where] = values
    return rows
