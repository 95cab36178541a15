"""Clips per second of the models of key points beside SlowFast, one thread: training steps, prediction, and how long
reading takes with the files out of the system's cache and in it.

python tests/benchmarks/hand_signal_poses.py --clips CLIPS --pose_file POSES.json
"""

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "hand_signal"))

from data import TaskArguments, pose_wish, read_examples  # noqa: E402
from model import find_architecture, load_video_model  # noqa: E402
from pose_input import make_pose_preprocessing  # noqa: E402

BATCH = 16
PASSES = 3


def rate(step, count):
    """Median of PASSES, after one that is not counted, in clips per second."""
    step()
    seconds = []
    for _ in range(PASSES):
        began = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - began)
    return count / statistics.median(seconds)


def measure(name, model, values):
    """Print training and prediction of one batch."""
    labels = torch.zeros(len(values), dtype=torch.long)
    optimizer = torch.optim.AdamW(model.parameters())

    def train():
        torch.nn.functional.cross_entropy(model.train()(pixel_values=values).logits, labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    def predict():
        with torch.inference_mode():
            model.eval()(pixel_values=values)

    millions = sum(p.numel() for p in model.parameters()) / 1e6
    cells = f"{rate(train, len(values)):.1f} | {rate(predict, len(values)):.1f}"
    print(f"| {name} | {millions:.2f} | {cells} |", flush=True)


def forget(*paths):
    """Take files out of the system's cache, which holds no pages of them that are to be written."""
    for path in filter(Path.is_file, paths):
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", required=True)
    parser.add_argument("--pose_file", required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    args = TaskArguments(train_file=options.clips, model_name_or_path="pose_tcn", pose_file=options.pose_file)
    forget(Path(options.pose_file), *Path(options.clips).rglob("*.*"))
    for state in ("cold", "cached"):
        began = time.perf_counter()
        rows = read_examples(options.clips, {"label_names": None, "group_by_number": 1, "poses": pose_wish(args)})
        preprocessing = make_pose_preprocessing(args, find_architecture("pose_tcn"), rows)
        dataset = preprocessing.dataset(rows)
        print(f"reading {len(rows)} clips, files {state}: {time.perf_counter() - began:.2f} s")
    print("| model | M parameters | training, clips/s | prediction, clips/s |\n|---|---|---|---|")
    values = torch.stack([dataset[i]["pixel_values"][0] for i in range(BATCH)])
    for name in ("pose_tcn", "pose_gcn", "pose_c3d"):
        size = {"heatmap_size": 32} if name == "pose_c3d" else {}
        graph = {"num_points": preprocessing.num_points, "parents": None, "streams": ["joint"]}
        model = load_video_model(name, rows.label_names, pose={**graph, **size})
        measure(name, model, values[: BATCH if name == "pose_tcn" else 4])
    model = load_video_model("slowfast_small", rows.label_names)
    measure("slowfast_small, 16 frames of 112 pixels", model, torch.rand(4, 3, 16, 112, 112))


if __name__ == "__main__":
    main()
