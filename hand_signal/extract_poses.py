"""Key points of every frame of a folder of clips, by an ONNX model that you name, as a --pose_file of train.py.

python {task}/extract_poses.py CLIPS --model rtmpose.onnx --output_file poses.json
python {task}/extract_poses.py CLIPS --model pose_landmark.onnx --output_file poses.json --picture_dir pictures
accelerate launch {task}/train.py --config {task}/configs/pose_final.yaml --train_file CLIPS --pose_file poses.json

Start the same command again after a kill: clips that are done stay. Nothing is downloaded.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from common.console import ArgumentParser, InputError, print_once, run_main
from common.files import atomic_write, read_json_data, sha256
from common.guards.surroundings import explain
from common.options.checks import check_folder, check_number
from common.options.paths import relative

from clip_folders import ClipExample
from data import read_examples, stamp
from decode import find_broken, read_frames
from pose_estimator import Estimator, Tracker
from pose_layouts import LAYOUTS, read_layout
from poses import KEY, read_pose, read_pose_files

WRITTEN_EVERY = 5  # seconds: what a kill loses
SHOWN = 8  # frames of a picture, two rows
PANEL = 320  # pixels, the longer side of one
BONE, POINT = (255, 200, 0), (255, 60, 60)  # RGB


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The options; exits after --help."""
    parser = ArgumentParser("extract_poses.py", __doc__.replace("{task}", str(relative(Path(__file__).parent))))
    parser.add_argument("clips", help="folder of clips, as train.py reads it")
    parser.add_argument("--model", required=True, help="ONNX file of RTMPose, heat maps, or BlazePose")
    parser.add_argument("--output_file", required=True, help="JSON of clip -> size and 2d_pos; clips in it stay")
    parser.add_argument("--picture_dir", help="folder for a picture of each clip: eight frames with the points drawn")
    parser.add_argument(
        "--pose_names", help="names and bones for the pictures; default: of 17 points coco17, of 33 blazepose33"
    )
    parser.add_argument(
        "--min_confidence", type=float, default=0.3, help="of a point that says where the person is (default: 0.3)"
    )
    parser.add_argument("--num_threads", type=int, default=0, help="of the model; 0: one per core (default)")
    parser.add_argument(
        "--skip_broken", action="store_true", help="clips that cannot be decoded get one frame without anybody"
    )
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    """Look at everything that is given, then extract what is not done yet."""
    from tqdm import tqdm

    check_number("min_confidence", args.min_confidence, 0, 1)
    check_number("num_threads", args.num_threads, 0)
    output = Path(args.output_file)
    if output.is_dir():
        raise InputError(f"{output}: is a folder, a file was expected (output_file)")
    for folder, option in ((output.parent, "output_file"), (args.picture_dir, "picture_dir")):
        if folder is not None:
            check_folder(Path(folder), option)
    if not Path(args.clips).is_dir():
        raise InputError(f"{args.clips}: is no folder, one of clips was expected")
    if args.picture_dir and Path(args.clips).resolve() in [folder := Path(args.picture_dir).resolve(), *folder.parents]:
        raise InputError(f"{args.picture_dir}: lies in {args.clips}, where pictures would be taken for clips")
    estimator = Estimator(args.model, args.min_confidence, args.num_threads)
    parents = bones(args.pose_names, estimator.num_points)
    rows = read_examples(args.clips, {"label_names": None, "group_by_number": 1})
    source = f"{Path(args.model).name} {sha256(args.model)[:12]} {args.min_confidence:g}"
    entries = read_done(output, source)
    done = {row.id for row in rows if entries.get(row.id, {}).get("clip") == stamp(row)}
    todo = [row for row in rows if row.id not in done]
    if not args.skip_broken:
        find_broken(todo, False)
    what = f"{estimator.layout} of {estimator.num_points} points"
    print_once(f"{args.model}: {what}; {len(done)} of {len(rows)} clips are done")
    written = time.monotonic()
    broken = []
    try:
        for row in tqdm(rows, unit="clip"):
            if row.id not in done:
                try:
                    entry = extract(row, estimator)
                except InputError as error:
                    if not args.skip_broken or explain(error):
                        raise
                    broken.append(row.id)
                    entry = {KEY: [None]}
                entries[row.id] = {**entry, "clip": stamp(row), "model": source}
            if args.picture_dir is not None and "size" in entries[row.id]:
                picture = picture_of(args.picture_dir, row.id)
                if row.id not in done or not picture.exists():
                    draw(picture, row, entries[row.id], estimator.num_points, parents, args.min_confidence)
            if time.monotonic() - written > WRITTEN_EVERY:
                write(output, entries)
                written = time.monotonic()
    finally:  # what is done stays, whatever ends it
        if entries:
            write(output, entries)
    say(rows, entries, broken, output)


def read_done(output: Path, source: str) -> dict[str, dict[str, Any]]:
    """Clip -> its entry, of an --output_file that is there. Raises InputError where another model wrote it, or none."""
    if not output.exists():
        return {}
    read_pose_files(output)  # which says what is wrong in it
    entries = read_json_data(output)
    for clip, entry in entries.items():
        found = entry.get("model") if isinstance(entry, dict) else None
        if found != source:
            what = f"is of {found}" if found else "was not written by this script"
            raise InputError(f"{output}, clip {clip!r:.80}: {what}, expected {source}; name another --output_file")
    return entries


def extract(row: ClipExample, estimator: Estimator) -> dict[str, Any]:
    """The entry of a clip: size, and of each frame a flat list of x, y, confidence, or null."""
    tracker = Tracker(estimator)
    read_frames(row.frames or row.path, tracker.choose, tracker)
    frames = [None if points is None else flat(points) for points in tracker.poses]
    return {"size": list(tracker.size), KEY: frames}


def flat(points: np.ndarray) -> list[float]:
    """Pixels to a hundredth, confidence to four digits; one that rounds to 0 says that the point is missing."""
    rounded = np.concatenate([points[:, :2].round(2), points[:, 2:].round(4)], axis=1)
    return rounded.ravel().tolist()


def bones(names: str | None, num_points: int) -> list[int] | None:
    """Number of each point's parent, None where nothing says so. Raises InputError for names of another count."""
    if names is None:
        names = next((name for name in ("coco17", "blazepose33") if len(LAYOUTS[name]) == num_points), None)
        if names is None:
            return None
    layout = read_layout(names)
    if len(layout.names) != num_points:
        raise InputError(f"{names}: has {len(layout.names)} names, the model gives {num_points} points")
    return layout.parents


def picture_of(folder: str, clip: str) -> Path:
    """Where the picture of a clip lies: class__name.mp4.jpg, all in one folder."""
    return Path(folder) / f"{clip.replace(chr(92), '/').removeprefix('./').replace('/', '__')}.jpg"


def draw(
    path: Path, row: ClipExample, entry: dict[str, Any], num_points: int, parents: Sequence[int] | None, least: float
) -> None:
    """A picture of SHOWN frames spread over the clip, in two rows, with bones and points drawn over them. least: the
    confidence below which a point is not drawn. A frame without anybody stays as it is."""
    numbers: list[int] = []

    def choose(total: int) -> list[int]:
        numbers[:] = np.linspace(0, total - 1, SHOWN).round().astype(int).tolist()
        return numbers

    scale = PANEL / max(entry["size"])
    size = tuple(max(1, round(side * scale)) for side in entry["size"])
    panels = read_frames(
        row.frames or row.path, choose, lambda frames: np.stack([cv2.resize(frame, size) for frame in frames])
    )
    poses = read_pose(entry, row.id, num_points).points
    for panel, number in zip(panels, numbers, strict=True):
        points = poses[number]
        shown = np.flatnonzero(points[:, 2] >= least).tolist()  # not where NaN
        places = {k: tuple((points[k, :2] * scale).round().astype(int).tolist()) for k in shown}
        for child, parent in enumerate(parents or ()):
            if child in places and parent in places:
                cv2.line(panel, places[child], places[parent], BONE, 2)
        for place in places.values():
            cv2.circle(panel, place, 2, POINT, -1)
        cv2.putText(panel, str(number), (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, POINT, 1)
    half = SHOWN // 2
    image = np.concatenate([np.concatenate(list(part), axis=1) for part in (panels[:half], panels[half:])])
    with atomic_write(path, "wb") as file:
        file.write(cv2.imencode(".jpg", image[..., ::-1])[1].tobytes())


def write(output: Path, entries: dict[str, dict[str, Any]]) -> None:
    with atomic_write(output) as file:
        json.dump(entries, file, ensure_ascii=False)


def say(rows: Sequence[ClipExample], entries: dict[str, dict[str, Any]], broken: Sequence[str], output: Path) -> None:
    """One line on what is in the file, and which clips have nobody."""
    frames = [frame for row in rows for frame in entries[row.id][KEY]]
    nobody = [row.id for row in rows if not any(entries[row.id][KEY])]
    named = f"; in no frame of {len(nobody)} clips: {', '.join(nobody[:5])}" if nobody else ""
    empty = sum(frame is None for frame in frames)
    print_once(f"{output}: {len(rows)} clips, {len(frames):,} frames, {empty:,} without anybody{named}")
    if broken:
        print_once(f"{len(broken)} clips cannot be decoded and got one frame without anybody: {', '.join(broken)}")
    if others := len(entries) - len(rows):
        print_once(f"{output}: {others} clips of other folders stay in it")


if __name__ == "__main__":
    run_main(lambda: main(parse_args()), "start the same command again to go on")
