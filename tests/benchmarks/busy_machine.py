"""What another program beside a training costs, by how often OpenMP's threads look before they sleep.

    python tests/benchmarks/busy_machine.py --output_dir OUT

Trains a fold of friends' demo on all cores, alone and beside a program that keeps one core busy, in turns. Prints rows/s
of training.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SPINS = ("300000", "2000", "300", "0")  # the first is libgomp's own, the third is what common sets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output_dir", required=True, type=Path, help="the run folders go here")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    speeds: dict[tuple[str, bool], list[float]] = {}
    for turn in range(args.rounds):
        for busy in (False, True):
            other = [subprocess.Popen([sys.executable, "-c", "while True: pass"])] if busy else []
            try:
                for spins in SPINS:
                    folder = args.output_dir / f"{spins}_{busy:d}_{turn}"
                    speeds.setdefault((spins, busy), []).append(train(folder, spins))
            finally:
                for program in other:
                    program.kill()
    print("| GOMP_SPINCOUNT | alone | beside another program |\n|---|---|---|")
    for spins in SPINS:
        pairs = [speeds[spins, busy] for busy in (False, True)]
        cells = [f"{statistics.mean(pair):.0f} ± {error(pair):.0f}" for pair in pairs]
        print(f"| {spins} | {' | '.join(cells)} |")


def train(folder: Path, spins: str) -> float:
    """Rows/s of a fold of the demo's training."""
    command = [sys.executable, ROOT / "friends/train.py", "--config", ROOT / "friends/configs/demo.yaml"]
    command += ["--num_folds", "2", "--fold", "0", "--fold_workers", "1", "--num_train_epochs", "3"]
    command += ["--eval_strategy", "no", "--torch_num_threads", str(os.cpu_count()), "--output_dir", folder]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "GOMP_"))}
    subprocess.run(
        list(map(str, command)), check=True, env={**environment, "GOMP_SPINCOUNT": spins}, stdout=subprocess.DEVNULL
    )
    return json.loads((folder / "fold0/fold.json").read_text())["train_samples_per_second"]


def error(values: list[float]) -> float:
    return statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0


if __name__ == "__main__":
    main()
