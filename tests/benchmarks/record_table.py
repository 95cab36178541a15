"""Record a learning rate x epoch table with a task's own train.py: the data that replay_search.py compares methods of
search on.

    python tests/benchmarks/record_table.py friends --output_dir OUT --csv tests/benchmarks/tables/friends_minilm2.csv \
        --learning_rates 5e-5 1e-4 2e-4 4e-4 8e-4 1.6e-3 --seeds 1 2 --warmup_steps 30 -- --train_file T --eval_file E \
        --model_name_or_path MODEL --num_train_epochs 8 --per_device_train_batch_size 32 --ema_decay 0.98 --bf16

What stands after -- goes to <task>/train.py, on top of its tune preset. The rate is constant after the warm-up, so that
epoch e of a long run is a run of e epochs. Finished runs are not trained again. The CSV has one row per seed, rate and
epoch; scores are those of eval_file. Beside it, as JSON, stands what train.py measured of the data and the model before
training.
"""

import argparse
import csv
import shutil
import sys
from pathlib import Path

from common.files import atomic_write, read_json
from common.workers.process import Child

ROOT = Path(__file__).parents[2]
COLUMNS = ("accuracy", "macro_f1", "log_loss")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("task", help="task folder")
    parser.add_argument("--output_dir", required=True, type=Path, help="run folders go here; without the models")
    parser.add_argument("--csv", required=True, type=Path)
    parser.add_argument("--learning_rates", required=True, nargs="+", type=float)
    parser.add_argument("--seeds", required=True, nargs="+", type=int)
    parser.add_argument("--warmup_steps", required=True, type=int, help="then the rate is constant")
    args, rest = parser.parse_known_args()
    script = ROOT / args.task / "train.py"
    shared = [
        script,
        "--config",
        script.parent / "configs" / "tune.yaml",
        "--lr_scheduler_type",
        "constant_with_warmup",
    ]
    shared += [
        "--warmup_steps",
        args.warmup_steps,
        "--save_strategy",
        "no",
        "--disable_tqdm",
        "true",
        *[x for x in rest if x != "--"],
    ]
    args.output_dir.mkdir(parents=True, exist_ok=True)
    child = Child()  # imports torch once for all runs
    rows = []
    for seed in args.seeds:
        for rate in args.learning_rates:
            folder = args.output_dir / f"{rate:g}-{seed}"
            if not (folder / "metrics.json").exists():
                shutil.rmtree(folder, ignore_errors=True)
                argv = [
                    str(word) for word in [*shared, "--learning_rate", rate, "--seed", seed, "--output_dir", folder]
                ]
                if child.run(args.output_dir / "log.txt", argv) != 0:
                    sys.exit(f"{args.output_dir / 'log.txt'}: train.py failed")
                (folder / "fold0" / "model.safetensors").unlink()
            shutil.copy(folder / "features.json", args.csv.with_suffix(".json"))
            for entry in read_json(folder / "fold0" / "fold.json")["log_history"]:
                if "eval_accuracy" in entry:
                    rows.append(
                        [seed, f"{rate:g}", round(entry["epoch"]), *(f"{entry[f'eval_{key}']:.4f}" for key in COLUMNS)]
                    )
            best = max(float(row[3]) for row in rows if row[:2] == [seed, f"{rate:g}"])
            print(f"rate {rate:g}, seed {seed}: best {best:.4f}", flush=True)
            with atomic_write(args.csv) as file:
                csv.writer(file, lineterminator="\n").writerows([["seed", "learning_rate", "epoch", *COLUMNS], *rows])


if __name__ == "__main__":
    main()
