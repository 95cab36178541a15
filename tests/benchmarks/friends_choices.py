"""The source paper's one-dimensional comparisons on Friends, each setting against the base on the same folds.

    python tests/benchmarks/friends_choices.py --train_file T.json --model_name_or_path MODEL --output_dir OUT -- \
        --max_train_samples 3000 --num_folds 3 --num_train_epochs 2 --learning_rate 2e-4 --bf16

What stands after -- goes to every friends/train.py. Finished settings are not trained again, so that a stopped
comparison goes on. Prints, and writes to OUT/choices.md after each setting, what tests/benchmarks/paired.py says.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from paired import paired_table

from common.files import read_json
from common.logits import Logits

TRAIN = Path(__file__).parents[2] / "friends" / "train.py"
# folder: (options beside the base's, S : u with current + previous; what the source says of it against the base)
SETTINGS = {
    "base": ([], ""),
    "context_current": (["--context", "current"], "worse"),
    "speaker_none": (["--speaker_format", "none"], "worse"),
    "oversample_1": (["--oversample_ratio", "1"], "worse"),
    "oversample_0.3": (["--oversample_ratio", "0.3"], "hoped better"),
    "undersample_0.2": (["--undersample_ratio", "0.2"], "hoped better"),
    "class_weights_0.5": (["--class_weight_strength", "0.5"], "hoped better"),
    "focal_2": (["--focal_gamma", "2"], "hoped better"),
    "context_current_next": (["--context", "current_next"], "worse"),
    "context_previous_current": (["--context", "previous_current"], "worse"),
    "context_previous_current_next": (["--context", "previous_current_next"], "worse"),
    "context_previous2_previous_current": (["--context", "previous2_previous_current"], "worse"),
    "speaker_space": (["--speaker_format", "space"], "worse"),
    "speaker_bracket": (["--speaker_format", "bracket"], "worse"),
    "speaker_says": (["--speaker_format", "says"], "worse"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train_file", required=True, help="labelled dialogues")
    parser.add_argument("--model_name_or_path", required=True, help="folder of the encoder")
    parser.add_argument("--output_dir", required=True, type=Path, help="a run folder per setting goes here")
    parser.add_argument(
        "--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS), help="beside the base; default: all"
    )
    args, rest = parser.parse_known_args()
    shared = [
        "--train_file",
        args.train_file,
        "--model_name_or_path",
        args.model_name_or_path,
        *[x for x in rest if x != "--"],
    ]
    results, seconds = {}, []
    for name in dict.fromkeys(["base", *args.settings]):
        options, _ = SETTINGS[name]
        folder = args.output_dir / name
        command = [
            sys.executable,
            TRAIN,
            "--config",
            TRAIN.parent / "configs" / "tune.yaml",
            *shared,
            *options,
            "--output_dir",
            folder,
        ]
        if not (folder / "metrics.json").exists():
            subprocess.run([*command, "--resume", "--disable_tqdm", "true"], check=True, stdout=subprocess.DEVNULL)
        results[name] = Logits.load(folder / "oof_logits.npz")
        seconds.append(read_json(folder / "run.json")["seconds"]["train"])
        print(f"{name}: {seconds[-1]:.0f} s", flush=True)
        table = paired_table(
            results, {name: claim for name, (_, claim) in SETTINGS.items()}, sum(seconds), {"macro F1": "macro_f1"}
        )
        (args.output_dir / "choices.md").write_text(table, encoding="utf-8")
    print("\n" + table)


if __name__ == "__main__":
    main()
