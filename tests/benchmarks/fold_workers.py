"""K folds as a user starts them, with this checkout and with another one (an earlier commit, say): seconds of the whole
command, in turns.

    git worktree add ../before COMMIT
    python tests/benchmarks/fold_workers.py friends --before ../before --output_dir OUT --rounds 3 -- --train_file T \
        --model_name_or_path MODEL --num_folds 5 --max_train_samples 2000 --num_train_epochs 1

What stands after -- goes to both train.py, on top of the tune preset; --own to this checkout's alone. Prints a line a
run and a table: the median of the rounds' ratios and their range, and what both have learned (out of fold).
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from common.files import read_json

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("task", help="task folder")
    parser.add_argument("--before", required=True, type=Path, help="the other checkout")
    parser.add_argument("--output_dir", required=True, type=Path, help="run folders go here, and are overwritten")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--own", nargs="+", default=[], help="name=value, options of this checkout alone")
    args, rest = parser.parse_known_args()
    shared = [word for word in rest if word != "--"]
    own = [word for pair in args.own for word in ("--" + pair.partition("=")[0], pair.partition("=")[2])]
    sides = {"before": (args.before.resolve(), shared), "now": (ROOT, [*shared, *own])}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    learned = {}
    for number in range(args.rounds):
        order = list(sides) if number % 2 == 0 else list(reversed(sides))
        for name in order:
            seconds[name].append(train(args.task, *sides[name], args.output_dir / name))
            learned[name] = read_json(args.output_dir / name / "metrics.json")["oof"]
            print(f"round {number + 1}, {name}: {seconds[name][-1]:.1f} s", flush=True)
    ratios = [before / now for before, now in zip(seconds["before"], seconds["now"], strict=True)]
    print("\n| | seconds, median | out-of-fold accuracy | log loss |\n|---|---|---|---|")
    for name, values in seconds.items():
        scores = learned[name]
        cells = f"{statistics.median(values):.1f} | {scores['accuracy']:.4f} ± {scores['standard_error']:.4f}"
        print(f"| {name} | {cells} | {scores['log_loss']:.4f} |")
    print(f"\nbefore / now: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def train(task: str, checkout: Path, options: list[str], folder: Path) -> float:
    """Seconds of train.py of a checkout, from its start to its end."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    script = checkout / task / "train.py"
    command = [sys.executable, script, "--config", checkout / task / "configs" / "tune.yaml", *options]
    env = {**os.environ, "PYTHONPATH": str(checkout), "HF_HUB_OFFLINE": "1"}
    began = time.perf_counter()
    quiet = ["--output_dir", folder, "--disable_tqdm", "true"]
    with open(folder.with_suffix(".log"), "w") as log:
        subprocess.run([*command, *quiet], env=env, stdout=log, stderr=subprocess.STDOUT, check=True)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
