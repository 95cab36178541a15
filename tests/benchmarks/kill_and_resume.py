"""A run that is killed (SIGKILL) at random moments and resumed must give the logits and the submission of a run that
was not.

python tests/benchmarks/kill_and_resume.py --trials 20 --output_dir /tmp/kill
python tests/benchmarks/kill_and_resume.py --trials 20 --output_dir /tmp/kill --ema_decay 0.9 \
    --gradient_accumulation_steps 2

Options that it does not know go to friends/train.py. Exit code 1 where a trial differs.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

SCRIPT = Path(__file__).resolve().parents[2] / "friends" / "train.py"
# one thread, so that the time of a run does not depend on what else the machine does
OPTIONS = [
    "--torch_num_threads",
    "1",
    "--disable_tqdm",
    "true",
    "--num_folds",
    "3",
    "--save_strategy",
    "steps",
    "--save_steps",
    "5",
]


def start(run_dir: Path, extra: list[str], kill_after: float | None = None) -> bool:
    """Start or resume the run; True when it ended by itself, False when it was killed after that many seconds."""
    with open(run_dir.with_suffix(".log"), "a") as log:
        command = [sys.executable, str(SCRIPT), "--output_dir", str(run_dir), "--resume", *OPTIONS, *extra]
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            code = process.wait(kill_after)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return False
    if code:
        raise SystemExit(f"exit code {code}, see {run_dir.with_suffix('.log')}")
    return True


def differences(run: Path, other: Path) -> list[str]:
    """What is not the same in two run folders."""
    found = []
    for name in ("oof_logits.npz", "test_logits.npz"):
        with np.load(run / name) as a, np.load(other / name) as b:
            found += [f"{name}: {key}" for key in a.files if a[key].tobytes() != b[key].tobytes()]
    if (run / "submission.csv").read_bytes() != (other / "submission.csv").read_bytes():
        found.append("submission.csv")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--second_kill", type=float, default=0.3, help="share of the trials whose resumed run is killed, too"
    )
    args, extra = parser.parse_known_args()
    args.output_dir.mkdir(parents=True, exist_ok=True)
    generator = random.Random(args.seed)

    whole = args.output_dir / "whole"
    shutil.rmtree(whole, ignore_errors=True)
    began = time.perf_counter()
    start(whole, extra)
    duration = time.perf_counter() - began
    print(f"uninterrupted: {duration:.1f} s", flush=True)

    kills = failures = 0
    for trial in range(args.trials):
        run = args.output_dir / f"trial{trial}"
        shutil.rmtree(run, ignore_errors=True)
        moments = [generator.uniform(0, duration) for _ in range(1 + (generator.random() < args.second_kill))]
        killed = sum(not start(run, extra, moment) for moment in moments)
        start(run, extra)
        found = differences(whole, run)
        kills, failures = kills + killed, failures + bool(found)
        at = ", ".join(f"{moment:.1f}" for moment in moments)
        print(f"trial {trial}: killed {killed} times (at {at} s): {'; '.join(found) or 'the same bits'}", flush=True)
        if not found:  # the others are left to be looked at
            shutil.rmtree(run)
    print(f"{args.trials} trials, {kills} kills, {failures} failures")
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
