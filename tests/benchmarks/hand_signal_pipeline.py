"""Decoding and input pipeline of hand_signal/: training clips per second, and memory over many clips.

    python tests/benchmarks/hand_signal_pipeline.py --clips CLIPS  # prints a Markdown table and the memory
    python tests/benchmarks/hand_signal_pipeline.py --clips CLIPS --num_frames 32 --frame_stride 2 --crop_size 224 \
        --memory_clips 2000

Every way makes the same training clips, one after the other in one process: the same frames are chosen, resized,
augmented. They differ in how the frames are decoded: ours (only the chosen frames), all frames with OpenCV, all frames
with PyAV, and ours from the cache. The ways take turns, pass by pass, in one run; the median over the passes is
reported with the fastest and the slowest.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "hand_signal"))
import clips
from data import read_examples


def with_opencv(source, choose, prepare):
    capture, frames = cv2.VideoCapture(str(source)), []
    while True:
        found, frame = capture.read()
        if not found:
            break
        frames.append(frame[..., ::-1])
    capture.release()
    return prepare(np.stack([frames[n] for n in choose(len(frames))]))


def images_with_opencv(files, choose, prepare):
    frames = [cv2.imread(str(file))[..., ::-1] for file in files]
    return prepare(np.stack([frames[n] for n in choose(len(frames))]))


def with_pyav(source, choose, prepare):
    with av.open(str(source)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return prepare(np.stack([frames[n] for n in choose(len(frames))]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", required=True, help="folder of clips, as for --train_file")
    parser.add_argument("--num_frames", type=int, default=32)
    parser.add_argument("--frame_stride", type=int, default=2)
    parser.add_argument("--crop_size", type=int, default=112)
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--max_clips", type=int, help="only the first clips")
    parser.add_argument(
        "--memory_clips", type=int, default=2000, help="clips read in a row to see whether memory grows; 0: none"
    )
    args = parser.parse_args()
    cv2.setNumThreads(1)
    examples = read_examples(args.clips, {"label_names": None, "group_by_number": 1})[: args.max_clips]
    normalization = {"mean": [0.45] * 3, "std": [0.225] * 3}
    preprocessing = clips.Preprocessing(
        args.num_frames,
        args.frame_stride,
        args.crop_size,
        **normalization,
        person_box=True,
        upscale="none",
        num_clips=1,
        num_crops=1,
    )
    ours, augmentation = clips.read_frames, clips.Augmentation(0.5, 0.2, None)
    folders = bool(examples[0].frames)
    ways = {"ours": ours, "all frames, OpenCV": images_with_opencv if folders else with_opencv}
    ways |= {} if folders else {"all frames, PyAV": with_pyav}
    ways["ours, from the cache"] = ours
    speeds = {name: [] for name in ways}
    with TemporaryDirectory() as cache:
        for number in range(args.passes + 1):  # the first fills the caches and is not counted
            for name, read in ways.items():
                dataset = clips.ClipDataset(examples, preprocessing, cache if "cache" in name else None, augmentation)
                dataset.set_epoch(number)
                clips.read_frames = read
                began = time.perf_counter()
                for row in range(len(dataset)):
                    clips.checked(clips.collate([dataset[row]]))
                if number:
                    speeds[name].append(len(dataset) / (time.perf_counter() - began))
    clips.read_frames = ours
    print(
        f"{len(examples)} clips, {args.num_frames} frames, stride {args.frame_stride}, {args.crop_size} pixels, one "
        "process\n"
    )
    print("| | clips per second | slowest to fastest pass | ours is faster by |\n|---|---|---|---|")
    for name, values in speeds.items():
        ratio = statistics.median(a / b for a, b in zip(speeds["ours"], values, strict=True))
        print(f"| {name} | {statistics.median(values):.1f} | {min(values):.1f} to {max(values):.1f} | {ratio:.2f} |")
    if args.memory_clips:
        dataset, memory = clips.ClipDataset(examples, preprocessing, None, augmentation), []
        for number in range(args.memory_clips):
            dataset[number % len(dataset)]
            if number % max(1, args.memory_clips // 10) == 0:
                memory.append(resident_megabytes())
        print(
            f"\nresident memory in MB over {args.memory_clips} clips: {', '.join(f'{value:.0f}' for value in memory)}"
        )


def resident_megabytes() -> float:
    """Of this process (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


if __name__ == "__main__":
    main()
