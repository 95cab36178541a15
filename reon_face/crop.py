"""Find the face in every image or video of a folder once, and keep crops of some 6 KB as Parquet shards: large
collections become small.

python {task}/crop.py --input IMAGES --output_dir CROPS
python {task}/crop.py --input IMAGES --output_dir CROPS --detector face_detection_yunet_2023mar.onnx --size 224
python {task}/crop.py --input VIDEOS --output_dir CROPS --every 5 --num_workers 8
accelerate launch {task}/train.py --config {task}/configs/wished.yaml --train_file CROPS

Start the same command again after a kill: finished shards stay, and all come out as if it had not been stopped.
"""

import argparse
import hashlib
import multiprocessing
import os
import sys
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from pathlib import Path

from common.console import ArgumentParser, InputError, print_once, run_main
from common.files import read_json, write_json
from common.guards.listing import IMAGE_SUFFIXES, VIDEO_SUFFIXES, left_out, print_left_out
from common.options.checks import check_folder, check_number
from common.options.paths import relative

from data import CROP_RECORD, compile_pattern, draw_sample, label_and_subject, list_files, say_people
from faces import FaceCrop, load_detector
from shards import Job, crop_shard

IMAGES = 512  # per shard: a shard is what one process does, and what a kill loses; a video's faces are many
VIDEOS = 8


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The options; exits after --help."""
    task_dir = str(relative(Path(__file__).parent))
    parser = ArgumentParser("crop.py", __doc__.replace("{task}", task_dir))
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
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    """Plan the shards, write those that are missing, then say in crop.json what is in them."""
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
    print_once(f"{rows:,} faces in {len(shards)} shards, {size / 2**20:.1f} MiB from {read / 2**20:.1f} MiB")
    print_once(
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
    draw_sample(folder)
    pattern = compile_pattern(args.subject_pattern)
    load_detector(args.detector)
    found, others = list_files(folder, (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES))
    sources = [path.relative_to(folder) for path in found]
    if not sources:
        there = f" ({left_out(others)})" if others else ""
        raise InputError(f"{folder}: holds no images and no videos{there}")
    print_left_out(folder, others)
    of_label: dict[str, list[str]] = {}
    unknown = []
    for source in sources:
        label, person = label_and_subject(source, pattern)
        of_label.setdefault(label or "", []).append(source.as_posix())
        unknown += [source.as_posix()] if person is None else []
    if pattern is not None and len(unknown) == len(sources):
        what = f"matches none of {len(sources)} paths (not {unknown[0]})"
        raise InputError(f"subject_pattern: {pattern.pattern!r:.80} {what}, expected the person in each")
    say_people(pattern, unknown, len(sources), folder)
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


if __name__ == "__main__":
    run_main(lambda: main(parse_args()), again="start the same command again to go on")
