"""One shard of crop.py: the faces of some images or videos as rows of a Parquet file."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import av
import cv2
import numpy as np

from common.console import InputError, first_line
from common.files import atomic_write, read_json, sha256, write_json
from common.guards.breaks import refuse_cut
from common.guards.images import image_size, open_image
from common.guards.listing import VIDEO_SUFFIXES
from common.guards.videos import orientation, promised_frames, promised_seconds, upright_pixels

from data import compile_pattern, label_and_subject
from faces import LONGEST_SIDE, Face, FaceCrop, choose_face, crop_face, load_detector

if TYPE_CHECKING:
    import pyarrow

ROWS_PER_GROUP = 256  # small enough to be read for a few of its rows
WHOLE = 0.9  # of the frames that a video promises
JPEG_QUALITY = 92


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
            broken[source] = first_line(error).removeprefix(f"{path}: ")

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
    """(-1, image, reduced) of an image, (number, frame, 1) of each `every`-th frame of a video; (H, W, 3) uint8 BGR, as
    a viewer or a player shows them.

    JPEGs are decoded at a half, a quarter or an eighth of their size (reduced: 2, 4, 8) as long as the longer side
    keeps LONGEST_SIDE pixels. Raises InputError where nothing can be decoded and, after its last frame, for a video
    that breaks off.
    """
    if path.suffix.lower() in VIDEO_SUFFIXES:
        yield from ((number, frame, 1) for number, frame in video_frames(path, every))
        return
    size = image_size(path)
    image = open_image(path, longest=LONGEST_SIDE)
    yield -1, np.ascontiguousarray(np.asarray(image)[..., ::-1]), round(max(size) / max(image.size))


def video_frames(path: Path, every: int) -> Iterator[tuple[int, np.ndarray]]:
    """(number, frame) of each `every`-th frame, one at a time in memory. Raises InputError as frames_of() says."""
    number = 0
    promised = 0.0
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise ValueError("it holds no video stream")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            promised = stream.frames or promised_seconds(stream) * float(stream.average_rate or 0)
            how = None
            for frame in container.decode(stream):
                how = how or orientation(frame)
                if number % every == 0:
                    yield number, upright_pixels(frame, how, "bgr24")
                number += 1
            if number < WHOLE * stream.frames:
                promised = promised_frames(path)
    except (av.FFmpegError, ValueError, OSError) as error:
        if number == 0:
            raise InputError(f"{path}: cannot be decoded as a video ({first_line(error)})") from error
        promised = max(promised, number / WHOLE + 1)
    if number == 0:
        raise InputError(f"{path}: cannot be decoded as a video (it holds no frames)")
    if number < WHOLE * promised:
        raise InputError(f"{path}: only {number} of {promised:.0f} frames can be decoded")
    refuse_cut(path)
