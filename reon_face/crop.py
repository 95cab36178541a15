"""Find the face in every image or video of a folder once, and keep crops of some 6 KB as Parquet shards: large
collections become small.

python reon_face/crop.py --input IMAGES --output_dir CROPS
python reon_face/crop.py --input IMAGES --output_dir CROPS --detector face_detection_yunet_2023mar.onnx --size 224 \
    --num_workers 8
python reon_face/crop.py --input VIDEOS --output_dir CROPS --every 5
accelerate launch reon_face/train.py --config reon_face/configs/wished.yaml --train_file CROPS

Start the same command again after a kill: finished shards stay, and all come out as if it had not been stopped.
"""

import argparse
import hashlib
import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from common.console import ArgumentParser, InputError, first_line, run_main
from common.files import atomic_write, read_json, sha256, write_json
from common.options.checks import check_folder, check_number

from data import CROP_RECORD, IMAGE_SUFFIXES, compile_pattern, label_and_subject, list_files
from faces import LONGEST_SIDE, Face, FaceCrop, choose_face, crop_face, load_detector

if TYPE_CHECKING:
    import pyarrow

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg")
ROWS_PER_GROUP = 256  # small enough to be read for a few of its rows
IMAGES = 512  # per shard: a shard is what one process does, and what a kill loses; a video's faces are many
VIDEOS = 8
WHOLE = 0.9  # of the frames that a video promises
JPEG_QUALITY = 92
REDUCED = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


@dataclass(frozen=True)
class Job:
    """One shard: the sources that go into it. Everything that a worker needs."""

    number: int
    sources: tuple[str, ...]  # below folder
    folder: str
    output_dir: str
    face_crop: FaceCrop
    detector: str
    size: int
    every: int
    subject_pattern: str | None

    @property
    def shard(self) -> Path:
        return Path(self.output_dir) / f"shard-{self.number:05}.parquet"

    @property
    def record(self) -> Path:
        """What the shard does not hold; written after it, so that a shard with a record is whole."""
        return self.shard.with_suffix(".json")

    def is_done(self) -> bool:
        return self.record.exists() and (self.shard.exists() or not read_json(self.record)["rows"])


def main() -> None:
    parser = ArgumentParser("crop.py", __doc__)
    parser.add_argument(
        "--input", required=True, help="folder of images or videos; labels and persons as train.py reads them"
    )
    parser.add_argument("--output_dir", required=True, help="folder for the shards")
    parser.add_argument(
        "--detector",
        default="haar",
        help="haar (in OpenCV), none (the whole frame), or YuNet's ONNX file (default: haar)",
    )
    parser.add_argument(
        "--choose", default="largest", choices=("largest", "central"), help="which of several faces (default: largest)"
    )
    parser.add_argument(
        "--padding",
        type=float,
        help="share of a face's box that is added on each side (default: 0.1; detector none: 0)",
    )
    parser.add_argument(
        "--no_align", action="store_true", help="do not turn faces upright (only YuNet says where the eyes are)"
    )
    parser.add_argument("--size", type=int, default=160, help="height and width of a crop in pixels (default: 160)")
    parser.add_argument("--every", type=int, default=1, help="videos: only each n-th frame (default: 1)")
    parser.add_argument(
        "--subject_pattern", help="regular expression over the path whose group is the person, as for train.py"
    )
    parser.add_argument(
        "--sources_per_shard", type=int, help=f"images or videos per shard (default: {IMAGES} images, {VIDEOS} videos)"
    )
    parser.add_argument("--num_workers", type=int, default=os.cpu_count(), help="processes (default: one per core)")
    args = parser.parse_args()

    jobs, labels = plan(args)
    record = {
        "status": "running",
        "face_crop": asdict(jobs[0].face_crop),
        "size": args.size,
        "every": args.every,
        "subject_pattern": args.subject_pattern,
        "sources": sum(len(job.sources) for job in jobs),
        "sources_sha256": fingerprint_of(jobs),
        "sources_per_shard": args.sources_per_shard,
    }
    path = Path(args.output_dir) / CROP_RECORD
    compare(path, record)
    write_json(path, record)
    run(jobs, args.num_workers)
    parts = [read_json(job.record) for job in jobs]
    shards = [job.shard.name for job, part in zip(jobs, parts, strict=True) if part["rows"]]
    no_face = [name for part in parts for name in part["no_face"]]
    broken = {k: v for part in parts for k, v in part["broken"].items()}
    rows = sum(part["rows"] for part in parts)
    done = {"label_names": labels, "shards": shards, "rows": rows, "no_face": no_face, "broken": broken}
    write_json(path, {**record, "status": "done", **done})
    size = sum((Path(args.output_dir) / shard).stat().st_size for shard in shards)
    read = sum(part["bytes"] for part in parts)
    print(f"{rows:,} faces in {len(shards)} shards, {size / 2**20:.1f} MiB from {read / 2**20:.1f} MiB")
    print(
        f"no face: {len(no_face):,} images or frames, cannot be decoded: {len(broken):,} files; both are listed in "
        f"{path}"
    )
    if not rows:
        raise InputError(f"{args.input}: no face was found in {record['sources']} images or videos")


def plan(args: argparse.Namespace) -> tuple[list[Job], list[str]]:
    """The shards of a folder, and its labels. Sources of all labels take turns, so that each shard has all. Raises
    InputError."""
    for key in ("every", "sources_per_shard", "num_workers"):
        check_number(key, getattr(args, key), 1)
    check_number("size", args.size, 16, 2048)
    check_number("padding", args.padding, 0, 2)
    folder = Path(args.input)
    if not folder.is_dir():
        raise InputError(f"{folder}: is not a folder of images or videos (input)")
    check_folder(Path(args.output_dir), "output_dir")
    pattern = compile_pattern(args.subject_pattern)
    load_detector(args.detector)
    sources = [path.relative_to(folder) for path in list_files(folder, (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES))]
    if not sources:
        raise InputError(f"{folder}: holds no images and no videos")
    of_label: dict[str, list[str]] = {}
    for source in sources:
        of_label.setdefault(label_and_subject(source, pattern)[0] or "", []).append(source.as_posix())
    if "" in of_label and len(of_label) > 1:
        raise InputError(
            f"{folder}: holds images ({of_label[''][0]}) beside folders of labels, expected only one of them"
        )
    # each source at its share of the way through its label: all labels end together
    ordered = sorted(
        (number / len(names), label, name) for label, names in of_label.items() for number, name in enumerate(names)
    )
    names = [name for _, _, name in ordered]
    padding = args.padding if args.padding is not None else 0.0 if args.detector == "none" else FaceCrop.padding
    crop = FaceCrop(Path(args.detector).name, args.choose, padding, not args.no_align)
    shared = (str(folder), args.output_dir, crop, args.detector, args.size, args.every, args.subject_pattern)
    if args.sources_per_shard is None:
        args.sources_per_shard = (
            VIDEOS if any(source.suffix.lower() in VIDEO_SUFFIXES for source in sources) else IMAGES
        )
    n = args.sources_per_shard
    return [Job(i // n, tuple(names[i : i + n]), *shared) for i in range(0, len(names), n)], sorted(
        set(of_label) - {""}
    )


def fingerprint_of(jobs: Sequence[Job]) -> str:
    """SHA-256 of the names and sizes of all sources: another folder with files of the same names is another one."""
    sources = [(source, (Path(job.folder) / source).stat().st_size) for job in jobs for source in job.sources]
    return hashlib.sha256("\n".join(f"{size} {source}" for source, size in sources).encode()).hexdigest()


def compare(path: Path, record: dict) -> None:
    """Raise InputError where the folder holds other crops, or something else."""
    if path.exists():
        before = read_json(path)
        for key, value in record.items():
            if key != "status" and before.get(key) != value:
                change = f"was made with {key} {before.get(key)}, now it is {value}"
                raise InputError(f"{path}: {change}; give the same, or another --output_dir")
    elif path.parent.exists() and any(path.parent.iterdir()):
        raise InputError(f"{path.parent}: is not empty and holds no {CROP_RECORD}; name another --output_dir")


def run(jobs: Sequence[Job], num_workers: int) -> None:
    """Write the shards that are missing, several at a time, with a progress bar of images or videos."""
    from tqdm import tqdm

    for rest in Path(jobs[0].output_dir).glob(".*.tmp"):  # of a start that was killed
        rest.unlink()
    missing = [job for job in jobs if not job.is_done()]
    total, left = (sum(len(job.sources) for job in some) for some in (jobs, missing))
    with tqdm(total=total, initial=total - left, unit=" files", file=sys.stdout, mininterval=1.0) as bar:
        if num_workers == 1 or len(missing) < 2:
            for job in missing:
                for _ in crop_shard(job):
                    bar.update()
            return
        # a clean process each: OpenCV's threads do not survive a fork
        context = multiprocessing.get_context("spawn")
        done = context.Value("q", 0)
        shown = 0
        processes = min(num_workers, len(missing))
        with ProcessPoolExecutor(processes, context, initializer=keep_counter, initargs=(done,)) as pool:
            waiting = {pool.submit(crop_counted, job) for job in missing}
            while waiting:
                ended, waiting = wait(waiting, timeout=0.5, return_when=FIRST_EXCEPTION)
                bar.update(done.value - shown)
                shown = done.value
                try:
                    for future in ended:
                        future.result()
                except BrokenProcessPool as error:
                    raise InputError(
                        "a process was killed (out of memory?); start the same command again, with fewer --num_workers"
                    ) from error


def keep_counter(counter) -> None:
    global DONE
    DONE = counter


def crop_counted(job: Job) -> None:
    for _ in crop_shard(job):
        with DONE.get_lock():
            DONE.value += 1


def crop_shard(job: Job) -> Iterator[None]:
    """Write one shard and its record, both whole or not at all; yields once for each source."""
    from datasets import Features, Image, List, Value

    cv2.setNumThreads(1)  # a process per core is what is parallel here
    text = Value("string")
    pattern = compile_pattern(job.subject_pattern)
    detector = load_detector(job.detector)
    features = Features(
        {
            "id": text,
            "image": Image(),
            "label": text,
            "subject": text,
            "source": text,
            "frame": Value("int32"),
            "box": List(Value("float32")),
            "score": Value("float32"),
            "sha256": text,
        }
    )
    no_face = []
    broken = {}
    read = 0

    def rows_of(source: str) -> Iterator[dict]:
        """The faces of one source; what has none, or is broken, is noted."""
        nonlocal read
        path = Path(job.folder) / source
        label, subject = label_and_subject(Path(source), pattern)
        previous = None
        try:
            read += path.stat().st_size
            shared = {"label": label, "subject": subject, "source": source, "sha256": sha256(path)}
            for number, image, reduced in frames_of(path, job.every):
                row_id = source if number < 0 else f"{source}#{number}"
                face = choose_face(detector(image), *image.shape[:2], job.face_crop.choose, previous)
                if face is None:
                    no_face.append(row_id)
                    continue
                previous = face if number >= 0 else None
                crop = crop_face(image, face, job.size, job.face_crop.padding, job.face_crop.align)
                yield encode(row_id, crop, face, reduced) | {**shared, "frame": number}
        except (InputError, OSError, cv2.error) as error:
            broken[source] = first_line(error)

    with ShardWriter(job.shard, features.arrow_schema) as shard:
        for source in job.sources:
            for row in rows_of(source):
                shard.add(row)
            yield
        shard.write_group()
    write_json(job.record, {"rows": shard.written, "no_face": no_face, "broken": broken, "bytes": read})


class ShardWriter(ExitStack):
    """Rows to a Parquet file, a row group at a time (a video's faces are many); no file where there are none."""

    def __init__(self, path: Path, schema: "pyarrow.Schema"):
        super().__init__()
        self.path = path
        self.schema = schema
        self.rows: list[dict] = []
        self.writer = None
        self.written = 0

    def add(self, row: dict) -> None:
        self.rows.append(row)
        if len(self.rows) == ROWS_PER_GROUP:
            self.write_group()

    def write_group(self) -> None:
        import pyarrow
        import pyarrow.parquet as parquet

        if not self.rows:
            return
        if self.writer is None:
            file = self.enter_context(atomic_write(self.path, "wb"))
            self.writer = self.enter_context(parquet.ParquetWriter(file, self.schema, compression="zstd"))
        self.writer.write_table(pyarrow.Table.from_pylist(self.rows, schema=self.schema))
        self.written += len(self.rows)
        self.rows.clear()


def encode(row_id: str, crop: np.ndarray, face: Face, reduced: int) -> dict:
    jpeg = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()
    return {
        "id": row_id,
        "image": {"bytes": jpeg, "path": None},
        "box": [value * reduced for value in face.box],
        "score": face.score,
    }


def frames_of(path: Path, every: int = 1) -> Iterator[tuple[int, np.ndarray, int]]:
    """(-1, image, reduced) of an image, (number, frame, 1) of each `every`-th frame of a video; (H, W, 3) uint8 BGR.

    JPEGs are decoded at a half, a quarter or an eighth of their size (reduced: 2, 4, 8) as long as the longer side
    keeps LONGEST_SIDE pixels. Raises InputError where nothing can be decoded and, after its last frame, for a video
    that breaks off.
    """
    if path.suffix.lower() not in VIDEO_SUFFIXES:
        data = np.fromfile(path, np.uint8)
        reduced = reduction(path)
        image = cv2.imdecode(data, REDUCED[reduced]) if len(data) else None
        if image is None:
            raise InputError("cannot be decoded as an image")
        yield -1, image, reduced
        return
    video = cv2.VideoCapture(str(path))
    number = 0
    promised = video.get(cv2.CAP_PROP_FRAME_COUNT)
    while video.grab():
        if number % every == 0:
            whole, frame = video.retrieve()
            if not whole:
                break
            yield number, frame, 1
        number += 1
    video.release()
    if number == 0:
        raise InputError("cannot be decoded as a video")
    if number < WHOLE * promised:
        raise InputError(f"only {number} of {promised:.0f} frames can be decoded")


def reduction(path: Path) -> int:
    """To which part of its size OpenCV should decode an image; only the header is read."""
    from PIL import Image

    if path.suffix.lower() not in (".jpg", ".jpeg"):
        return 1
    try:
        with Image.open(path) as image:
            longest = max(image.size)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return 1
    return max(by for by in REDUCED if by == 1 or longest / by >= LONGEST_SIDE)


if __name__ == "__main__":
    run_main(main, again="start the same command again to go on")
