"""One shard of crop.py: the faces of some images or videos as rows of a Parquet file."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from common.console import InputError, first_line
from common.files import atomic_write, read_json, sha256, write_json

from data import compile_pattern, label_and_subject
from faces import LONGEST_SIDE, Face, FaceCrop, choose_face, crop_face, load_detector

if TYPE_CHECKING:
    import pyarrow

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg")
ROWS_PER_GROUP = 256  # small enough to be read for a few of its rows
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
