"""Start-up of the scripts: seconds to --help, seconds to the first training step of the demo, and what of it are
imports.

    python tests/benchmarks/startup.py                                   # prints two Markdown tables
    python tests/benchmarks/startup.py --tasks friends reon_face --rounds 5

Each number is the median over the rounds of a process of its own, from its start: to its end for --help, to the first
step of the optimizer for the demo, which then ends. Imports are measured in one more process by Python's -X importtime,
which itself costs some time, and summed by package. The first round, in which samples are drawn and files come from the
disk, is not counted.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TASKS = ("nsmc", "friends", "klue_re", "reon_face", "hand_signal")
FIRST_STEP = """
import os, runpy, sys, time
from torch.optim.optimizer import register_optimizer_step_pre_hook

def stop(*_):
    print("first step", time.time(), flush=True)
    os._exit(0)

register_optimizer_step_pre_hook(stop)
sys.argv = sys.argv[1:]
sys.path.insert(0, os.path.dirname(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
"""
IMPORT_LINE = re.compile(r"^import time:\s+(\d+) \|\s+\d+ \| +([\w.]+)$", re.MULTILINE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    print("| | train.py --help | predict.py --help |\n|---|---|---|")
    for task in args.tasks:
        times = [
            median_of(args.rounds, lambda path=ROOT / task / script: seconds_to_help(path))
            for script in ("train.py", "predict.py")
        ]
        print(f"| {task} | {times[0]:.2f} s | {times[1]:.2f} s |", flush=True)
    print("\n| | to the first step of the demo | imports of it | the longest |\n|---|---|---|---|")
    for task in args.tasks:
        seconds = median_of(args.rounds, lambda task=task: seconds_to_first_step(task))
        imports = seconds_of_imports(task)
        longest = ", ".join(f"{name} {value:.1f}" for name, value in imports.most_common(4))
        print(f"| {task} | {seconds:.1f} s | {imports.total():.1f} s | {longest} |", flush=True)


def median_of(rounds: int, measure) -> float:
    return statistics.median([measure() for _ in range(rounds + 1)][1:])


def seconds_to_help(script: Path) -> float:
    began = time.time()
    subprocess.run([sys.executable, script, "--help"], env=environment(), stdout=subprocess.DEVNULL, check=True)
    return time.time() - began


def seconds_to_first_step(task: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        began = time.time()
        output = demo(task, folder, [])
    return float(output.stdout.rpartition("first step ")[2]) - began


def seconds_of_imports(task: str) -> Counter:
    """Seconds in the modules of each package, without those that they import, up to the first step."""
    with tempfile.TemporaryDirectory() as folder:
        output = demo(task, folder, ["-X", "importtime"])
    seconds = Counter()
    for microseconds, module in IMPORT_LINE.findall(output.stderr):
        seconds[module.partition(".")[0]] += int(microseconds) / 1e6
    return seconds


def demo(task: str, folder: str, interpreter_options: list[str]) -> subprocess.CompletedProcess:
    options = [
        "--config",
        str(ROOT / task / "configs" / "demo.yaml"),
        "--output_dir",
        f"{folder}/run",
        "--torch_num_threads",
        "1",
    ]
    command = [sys.executable, *interpreter_options, "-c", FIRST_STEP, str(ROOT / task / "train.py"), *options]
    return subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=True)


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}


if __name__ == "__main__":
    main()
