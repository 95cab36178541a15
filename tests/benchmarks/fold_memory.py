"""Memory of a K-fold run after each fold, and the time that is neither training nor prediction.

    # what stands after -- goes to <task>/train.py
    python tests/benchmarks/fold_memory.py nsmc --output_dir OUT -- --num_folds 5

Memory is the resident size of the process when the fold has written its fold.json (on Linux, from /proc). Prints a line
per fold, and the share of run.json's seconds outside of its phases train and predict.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from common.files import read_json

ROOT = Path(__file__).parents[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", help="task folder; its demo preset is run")
    parser.add_argument("--output_dir", required=True, type=Path)
    args, rest = parser.parse_known_args()
    task = ROOT / args.task
    command = [
        sys.executable,
        task / "train.py",
        "--config",
        task / "configs" / "demo.yaml",
        "--output_dir",
        args.output_dir,
    ]
    command += [*[x for x in rest if x != "--"], "--disable_tqdm", "true"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(ROOT)})
    sizes: list[float] = []
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        if (args.output_dir / f"fold{len(sizes)}" / "fold.json").exists():
            sizes.append(next(int(line.split()[1]) / 1e3 for line in status.splitlines() if line.startswith("VmRSS")))
            print(f"after fold {len(sizes) - 1}: {sizes[-1]:.0f} MB, {sizes[-1] / sizes[0] - 1:+.1%}", flush=True)
        time.sleep(0.02)
    if process.returncode:
        raise SystemExit(process.returncode)
    seconds = read_json(args.output_dir / "run.json")["seconds"]
    outside = seconds["total"] - seconds["train"] - seconds["predict"]
    print(
        f"{outside:.1f} of {seconds['total']:.1f} s are neither training nor prediction "
        f"({outside / seconds['total']:.1%})"
    )


if __name__ == "__main__":
    main()
