"""What the source never tried: the average of K folds, and of different heads, against the best single model, on rows
that none saw.

    python tests/benchmarks/klue_re_ensemble.py --train_file T.tsv --output_dir OUT --held_out 1000 -- \
        --model_name_or_path MODEL --num_folds 5 --num_train_epochs 3 --learning_rate 5e-5 --head_learning_rate 2e-3 \
        --freeze_word_embeddings --bf16

Rows are held out by sentence before there are folds (OUT/train.tsv, OUT/held_out.tsv). Each member is trained as K
folds; the best single model is the fold with the best accuracy on its own validation rows, so that the held-out rows
choose nothing. Finished members are not trained again. Prints, and writes to OUT/ensemble.md, the accuracy on the
held-out rows and the paired difference to the best single model.
"""

import argparse
import csv
import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from paired import KLUE_RE_METRICS, paired_table
from sklearn.model_selection import StratifiedGroupKFold

from common.files import read_json, read_text
from common.logits import Logits, average
from common.run import finished_folds

TASK = Path(__file__).parents[2] / "klue_re"
sys.path.insert(0, str(TASK))
from metrics import relation_metrics  # noqa: E402

MEMBERS = {
    "rbert": [],
    "distance": ["--concat", "cls", "e1", "e2", "|e1-e2|"],
    "shared": ["--entity_layer", "shared"],
    "indicators": ["--head", "indicators"],
    "baseline": ["--head", "baseline", "--cls_pooling", "first"],  # the preset's pooler is no option of the baseline
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train_file", required=True, help="the competition's train.tsv")
    parser.add_argument("--output_dir", required=True, type=Path)
    parser.add_argument("--held_out", type=int, default=1000, help="rows to hold out, about")
    parser.add_argument("--config", default=TASK / "configs" / "tune.yaml", help="preset; default: tune")
    parser.add_argument("--members", nargs="+", choices=MEMBERS, default=list(MEMBERS))
    args, rest = parser.parse_known_args()
    files = hold_out(args.train_file, args.held_out, args.output_dir)
    singles, averages, seconds = {}, {}, 0.0
    for name in args.members:
        folder = args.output_dir / name
        if not (folder / "metrics.json").exists():
            command = [
                sys.executable,
                TASK / "train.py",
                "--config",
                args.config,
                *files,
                *MEMBERS[name],
                *[x for x in rest if x != "--"],
            ]
            subprocess.run(
                [*command, "--output_dir", folder, "--resume", "--disable_tqdm", "true"],
                check=True,
                stdout=subprocess.DEVNULL,
            )
        seconds += read_json(folder / "run.json")["seconds"]["train"]
        print(f"{name}: done", flush=True)
        averages[f"{name}, average of its folds"] = Logits.load(folder / "eval_logits.npz")
        for fold in finished_folds(folder):
            singles[f"{name}/{fold.name}"] = (
                read_json(fold / "fold.json")["metrics"]["accuracy"],
                fold / "eval_logits.npz",
            )
    best = max(singles, key=lambda name: singles[name][0])
    everything = average(list(averages.values()))
    voted = average(
        [
            replace(logits, logits=logits.probabilities())
            for logits in (Logits.load(path) for _, path in singles.values())
        ]
    )
    voted = replace(voted, logits=np.log(voted.logits))
    results = {
        "base": Logits.load(singles[best][1]),
        **averages,
        "all members, average of logits": everything,
        "all members, average of probabilities (soft voting)": voted,
    }
    table = paired_table(results, dict.fromkeys(results, "hoped better"), seconds, KLUE_RE_METRICS, relation_metrics)
    table = f"base: the best single model, {best}, validation accuracy {singles[best][0]:.4f}\n\n{table}"
    (args.output_dir / "ensemble.md").write_text(table, encoding="utf-8")
    print("\n" + table)


def hold_out(train_file: str, rows: int, folder: Path) -> list[str]:
    """Write train.tsv and held_out.tsv, whole sentences and stratified by label, and name them as options."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = list(csv.reader(io.StringIO(read_text(train_file), newline=""), delimiter="\t"))
    labels, sentences = np.array([line[8] for line in lines]), np.array([line[1] for line in lines])
    splitter = StratifiedGroupKFold(max(2, round(len(lines) / rows)), shuffle=True, random_state=42)
    inside, outside = next(iter(splitter.split(labels, labels, sentences)))
    for name, numbers in (("train", inside), ("held_out", outside)):
        with open(folder / f"{name}.tsv", "w", encoding="utf-8", newline="") as file:
            csv.writer(file, delimiter="\t", lineterminator="\n").writerows(lines[i] for i in numbers)
    return ["--train_file", str(folder / "train.tsv"), "--eval_file", str(folder / "held_out.tsv")]


if __name__ == "__main__":
    main()
