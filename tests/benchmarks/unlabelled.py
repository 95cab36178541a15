"""What rows without labels and a teacher are worth: further pre-training, pseudo-labels, a student of five folds.

    python tests/benchmarks/unlabelled.py friends --train_file T.json --unlabelled_file en_data.csv --eval_file D.json \
        --model_name_or_path MODEL --output_dir OUT -- --config friends/configs/small.yaml --max_train_samples 3000

Steps, each against base: base itself, with folds; the same from a model that has read all texts (common.pretrain);
with pseudo-labels, those of probability 0.9 and more, and all of them as probabilities; and one model of all rows
without (single) and with (student) the folds of base as its teacher. What stands after -- goes to every train.py; it
must ask for folds. Finished steps are not trained again, so that a stopped comparison goes on. Prints, and writes to
OUT/unlabelled.md after each step, what tests/benchmarks/paired.py says: out of fold, and on --eval_file.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from paired import paired_table

from common.files import read_json
from common.logits import Logits

ROOT = Path(__file__).parents[2]
PSEUDO = ["--pseudo_file", "{unlabelled}", "--pseudo_run", "{out}/base"]
STEPS = {
    "base": [],
    "pretrained": ["--model_name_or_path", "{out}/model"],
    "pseudo": PSEUDO,
    "pseudo_soft": [*PSEUDO, "--pseudo_soft", "--pseudo_min_probability", "0"],
    "single": ["--num_folds", "1"],
    "student": ["--num_folds", "1", "--teacher", "{out}/base"],
}
PARTS = {"oof": "out of fold", "eval": "on the rows of --eval_file"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=["friends", "nsmc", "klue_re"])
    parser.add_argument("--train_file", required=True, help="labelled rows")
    parser.add_argument("--unlabelled_file", required=True, help="rows whose labels are not read")
    parser.add_argument("--eval_file", required=True, help="labelled rows that nothing is trained on")
    parser.add_argument("--model_name_or_path", required=True, help="folder of the encoder")
    parser.add_argument("--pretrain_epochs", default="3")
    parser.add_argument("--output_dir", required=True, type=Path, help="a run folder per step goes here")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS), help="beside base; default: all")
    args, rest = parser.parse_known_args()
    shared = ["--train_file", args.train_file, "--test_file", args.unlabelled_file, "--eval_file", args.eval_file]
    shared += ["--model_name_or_path", args.model_name_or_path, "--eval_strategy", "no"]
    shared += [x for x in rest if x != "--"]
    results: dict[str, dict[str, Logits]] = {part: {} for part in PARTS}
    seconds: dict[str, float] = {}
    for name in dict.fromkeys(["base", *args.steps]):
        folder = args.output_dir / name
        if name == "pretrained":
            pretrain(args)
        options = [word.format(unlabelled=args.unlabelled_file, out=args.output_dir) for word in STEPS[name]]
        if not (folder / "metrics.json").exists():
            run(ROOT / args.task / "train.py", *shared, *options, "--output_dir", folder, "--resume")
        seconds[name] = read_json(folder / "run.json")["seconds"]["train"]
        for part, of_part in results.items():
            if (logits := folder / f"{part}_logits.npz").exists():
                of_part[name] = Logits.load(logits)
        report = as_report(results, seconds)
        (args.output_dir / "unlabelled.md").write_text(report, encoding="utf-8")
    print("\n" + report)


def pretrain(args: argparse.Namespace) -> None:
    """The encoder that has read the texts of both files, in OUT/model."""
    if (args.output_dir / "model" / "config.json").exists():
        return
    files = ["--train_file", args.train_file, args.unlabelled_file]
    model = ["--model_name_or_path", args.model_name_or_path, "--output_dir", args.output_dir / "model"]
    epochs = ["--num_train_epochs", args.pretrain_epochs, "--torch_num_threads", "1", "--resume"]
    run("-m", "common.pretrain", args.task, *files, *model, *epochs)


def run(*words: object) -> None:
    subprocess.run([sys.executable, *map(str, words)], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)


def as_report(results: dict[str, dict[str, Logits]], seconds: dict[str, float]) -> str:
    tables = [
        f"{title}: {paired_table(of_part, dict.fromkeys(STEPS, ''), sum(seconds.values()), COLUMNS)}"
        for (part, title) in PARTS.items()
        if (of_part := results[part])
    ]
    minutes = ", ".join(f"{name} {value / 60:.1f}" for name, value in seconds.items())
    return "\n".join([*tables, f"minutes of training: {minutes}\n"])


COLUMNS = {"macro F1": "macro_f1", "log loss": "log_loss"}


if __name__ == "__main__":
    main()
