"""Training steps of slowfast_r50_8x8: clips per second and memory by precision and layout, ours beside pytorchvideo's,
in one run.

    python tests/benchmarks/hand_signal_speed.py  # a GPU: batch 8, 224 pixels
    python tests/benchmarks/hand_signal_speed.py --crop_size 64 --batch_size 1 --steps 2      # a CPU: that it runs

A step is forward, backward and SGD with momentum on clips of random numbers that lie on the device already.
pytorchvideo as in .ci/run; its rows are left out, and said, where it is not installed. Ways take turns, --rounds times;
the first steps (compilation, choice of algorithms) are not counted. Prints a Markdown table: median and range over the
rounds, ratio to ours in fp32, and peak memory on a GPU.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).parents[2] / "hand_signal"))
from model import ARCHITECTURES, load_video_model
from slowfast import slow_frames

NAME = "slowfast_r50_8x8"
LABELS = [str(number) for number in range(6)]
# way: (who, bfloat16, channels last, compiled)
WAYS = {
    "ours, fp32": ("ours", False, False, False),
    "ours, bf16": ("ours", True, False, False),
    "ours, bf16, channels last": ("ours", True, True, False),
    "ours, bf16, channels last, compiled": ("ours", True, True, True),
    "pytorchvideo, fp32": ("theirs", False, False, False),
    "pytorchvideo, bf16": ("theirs", True, False, False),
    "pytorchvideo, bf16, channels last": ("theirs", True, True, False),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--crop_size", type=int, default=224)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--warm_up", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    args = parser.parse_args()
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")
    found: dict[str, list[tuple[float, float]]] = {}
    for _ in range(args.rounds):
        for way in args.ways:
            try:
                found.setdefault(way, []).append(measure(args, device, *WAYS[way]))
            except ImportError as error:
                print(f"{way}: left out ({error})")
                del found[way]
    print(
        f"{NAME}, {device}, batch {args.batch_size}, {args.crop_size} pixels, {args.steps} steps, {args.rounds} "
        "rounds\n"
    )
    print(table(found))


def measure(
    args: argparse.Namespace, device: torch.device, who: str, bf16: bool, channels_last: bool, compiled: bool
) -> tuple[float, float]:
    """(clips per second, peak memory in GB; NaN on a CPU)."""
    torch.manual_seed(0)
    frames = ARCHITECTURES[NAME].num_frames
    model = (make_ours if who == "ours" else make_theirs)(args.crop_size).to(device).train()
    clips = torch.rand(args.batch_size, 3, frames, args.crop_size, args.crop_size, device=device)
    labels = torch.arange(args.batch_size, device=device) % len(LABELS)
    if channels_last:
        model, clips = (
            model.to(memory_format=torch.channels_last_3d),
            clips.contiguous(memory_format=torch.channels_last_3d),
        )
    forward: Callable = torch.compile(model) if compiled else model
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            logits = forward(clips)
        F.cross_entropy(logits.float(), labels).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    for _ in range(args.warm_up):
        step()
    wait(device)
    began = time.perf_counter()
    for _ in range(args.steps):
        step()
    wait(device)
    speed = args.steps * args.batch_size / (time.perf_counter() - began)
    return speed, torch.cuda.max_memory_allocated() / 1e9 if device.type == "cuda" else float("nan")


def wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize()


def make_ours(crop_size: int) -> torch.nn.Module:
    """The network without the wrapper that computes the loss: pixel_values (B, 3, T, S, S) -> logits (B, C)."""
    return load_video_model(NAME, LABELS).backbone


def make_theirs(crop_size: int) -> torch.nn.Module:
    """pytorchvideo's, as its hub function builds it for this size; it takes the slow pathway's frames beside the
    others."""
    from pytorchvideo.models.slowfast import create_slowfast

    options, frames = ARCHITECTURES[NAME].options, ARCHITECTURES[NAME].num_frames
    alpha, side = options["alpha"], crop_size // 32
    network = create_slowfast(
        model_depth=50,
        model_num_class=len(LABELS),
        slowfast_fusion_conv_kernel_size=(options["fusion_kernel"], 1, 1),
        slowfast_fusion_conv_stride=(alpha, 1, 1),
        head_pool_kernel_sizes=((frames // alpha, side, side), (frames, side, side)),
    )

    class Theirs(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, clips: torch.Tensor) -> torch.Tensor:
            return self.network([clips[:, :, slow_frames(frames, alpha)], clips])

    return Theirs()


def table(found: dict[str, list[tuple[float, float]]]) -> str:
    base = np.median([speed for speed, _ in next(iter(found.values()))])
    lines = ["| way | clips/s | slowest to fastest round | ratio | GB |", "|---|---|---|---|---|"]
    for way, rounds in found.items():
        speeds, memory = np.array(rounds).T
        peak = "" if np.isnan(memory).any() else f"{memory.max():.1f}"
        middle = np.median(speeds)
        lines.append(
            f"| {way} | {middle:.2f} | {speeds.min():.2f} to {speeds.max():.2f} | {middle / base:.2f} | {peak} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
