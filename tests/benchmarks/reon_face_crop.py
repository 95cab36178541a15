"""Images per second and core of reon_face/crop.py against a plain OpenCV loop over the same files, and its memory over
many shards.

    python tests/benchmarks/reon_face_crop.py --frames FRAMES

FRAMES: a folder of images. The loop reads each whole, looks for faces in all its pixels, resizes the largest and writes
a JPEG. Both are measured on the files as they are and enlarged by --enlarge, as photographs are, in seconds of CPU
time, start-up not included. Then the frames are cropped again and again into shards, and the most memory that the
process has held is printed after each.
"""

import argparse
import resource
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2

TASK = Path(__file__).parents[2] / "reon_face"
sys.path.insert(0, str(TASK))
from faces import FaceCrop  # noqa: E402
from shards import Job, crop_shard  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", required=True, type=Path, help="folder of images")
    parser.add_argument("--enlarge", type=int, default=6, help="the second measurement's factor")
    parser.add_argument("--max_images", type=int, default=12, help="of the second measurement")
    parser.add_argument("--shards", type=int, default=8, help="of the measurement of memory")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    files = sorted(path for path in args.frames.iterdir() if path.suffix in (".jpg", ".png"))
    with TemporaryDirectory() as work:
        work = Path(work)
        (work / "large").mkdir()
        for path in files[: args.max_images]:
            image = cv2.resize(
                cv2.imread(str(path)), None, fx=args.enlarge, fy=args.enlarge, interpolation=cv2.INTER_CUBIC
            )
            cv2.imwrite(str(work / "large" / f"{path.stem}.jpg"), image)
        list(crop_shard(job(args.frames, [files[0].name], work, 999)))  # the imports
        for folder, some in ((args.frames, files), (work / "large", sorted((work / "large").iterdir()))):
            shape = cv2.imread(str(some[0])).shape
            plain, here = (
                timed(lambda some=some: plain_loop(some, work)),
                timed(
                    lambda folder=folder, some=some: list(
                        crop_shard(job(folder, [path.name for path in some], work, len(some)))
                    )
                ),
            )
            rates = f"plain loop {len(some) / plain:.1f}, crop.py {len(some) / here:.1f} images per CPU second"
            print(f"{len(some)} files, {shape[1]} x {shape[0]}: {rates} ({plain / here:.1f} times)", flush=True)
        for number in range(args.shards):
            list(crop_shard(job(args.frames, [path.name for path in files] * 4, work, 100 + number)))
            most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"shard {number + 1} of {4 * len(files)} images: at most {most:.0f} MiB so far", flush=True)


def job(folder: Path, names: list[str], output_dir: Path, number: int) -> Job:
    return Job(number, tuple(names), str(folder), str(output_dir), FaceCrop(), "haar", 160, 1, None)


def timed(what) -> float:
    began = time.process_time()
    what()
    return time.process_time() - began


def plain_loop(files: list[Path], work: Path) -> None:
    cascade = cv2.CascadeClassifier(str(Path(cv2.data.haarcascades) / "haarcascade_frontalface_alt2.xml"))
    for path in files:
        image = cv2.imread(str(path))
        boxes = cascade.detectMultiScale(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), 1.1, 3)
        if len(boxes):
            x, y, w, h = max(boxes, key=lambda box: box[2] * box[3])
            cv2.imwrite(str(work / f"{path.stem}.face.jpg"), cv2.resize(image[y : y + h, x : x + w], (160, 160)))


if __name__ == "__main__":
    main()
