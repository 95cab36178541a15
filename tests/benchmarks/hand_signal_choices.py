"""What motion is worth on real recordings: frames, Slow-only and SlowFast, all from scratch, on the same folds of
hand_signal/.

    python tests/benchmarks/hand_signal_choices.py --clips CLIPS --output_dir OUT -- --group_by_number 10
    python tests/benchmarks/hand_signal_choices.py --clips CLIPS --output_dir OUT --weights EFFICIENTNET_LITE0.pth \
        -- --crop_size 112

A fifth of the clips, in whole groups, is held out before folding: the average of the fold models, and the source's way,
one model trained on all other clips and kept at its lowest training loss, are measured there. Settings: frames, slow,
slowfast, each with and without bicubic upscaling; with --weights the classifier of frames also from these weights
(after --settings without a name, only that). What stands after -- goes to every train.py. Finished settings are not
trained again. Prints, and writes to OUT/choices.md after each setting, log loss and accuracy with standard errors: out
of fold, and on the held-out clips, averaged and single.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np

from common.files import read_json
from common.logits import Logits
from common.metrics import row_log_losses

TASK = Path(__file__).parents[2] / "hand_signal"
sys.path.insert(0, str(TASK))
from data import ClipExample, read_examples  # noqa: E402

FRAMES = ["--model_name_or_path", "timm/tf_efficientnet_lite0", "--num_frames", "8", "--frame_stride", "0"]
SETTINGS = {
    "frames": FRAMES,
    "slow": ["--model_name_or_path", "slow_small", "--num_frames", "8", "--frame_stride", "0"],
    "slowfast": ["--model_name_or_path", "slowfast_small", "--num_frames", "16", "--frame_stride", "0"],
}
SETTINGS |= {f"{name}, upscaled": [*options, "--upscale", "bicubic"] for name, options in list(SETTINGS.items())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", required=True, help="folder of clips, as for --train_file")
    parser.add_argument("--output_dir", required=True, type=Path)
    parser.add_argument(
        "--held_out", type=float, default=0.2, help="share of the groups of each class that no model sees"
    )
    parser.add_argument("--num_folds", type=int, default=5)
    parser.add_argument("--weights", help="weights of tf_efficientnet_lite0, for an extra row")
    parser.add_argument("--settings", nargs="*", choices=SETTINGS, default=list(SETTINGS))
    args, rest = parser.parse_known_args()
    rest = [option for option in rest if option != "--"]
    settings = {name: SETTINGS[name] for name in args.settings}
    if args.weights:
        settings["frames, from weights"] = [*FRAMES, "--pretrained_weights", args.weights]
    group_by = int(rest[rest.index("--group_by_number") + 1]) if "--group_by_number" in rest else 1
    train, held_out = split(args.clips, args.held_out, group_by, args.output_dir)
    shared = [
        "--config",
        TASK / "configs" / "tune.yaml",
        "--cache_dir",
        args.output_dir / "cache",
        "--disable_tqdm",
        "true",
    ]
    columns = [
        "setting",
        "out of fold: log loss",
        "accuracy",
        "held out, folds: log loss",
        "accuracy",
        "one model: log loss",
        "accuracy",
    ]
    table = [f"| {' | '.join(columns)} |"]
    table += ["|---" * 7 + "|"]
    for name, options in settings.items():
        folder = args.output_dir / name.replace(", ", "-").replace(" ", "-")
        folds, single = folder / "folds", folder / "single"
        command = [
            sys.executable,
            TASK / "train.py",
            *shared,
            *options,
            *rest,
            "--train_file",
            train,
            "--eval_file",
            held_out,
        ]
        if not (folds / "metrics.json").exists():
            run([*command, "--num_folds", args.num_folds, "--output_dir", folds, "--resume"])
        if not (single / "metrics.json").exists():
            # the source measured nothing while it trained: the clips that it trains on choose the checkpoint
            best = ["--load_best_model_at_end", "true", "--metric_for_best_model", "loss"]
            run([*command, "--eval_file", train, *best, "--num_folds", "1", "--output_dir", single, "--resume"])
        submission = single / "held_out.csv"
        if not submission.with_suffix(".logits.npz").exists():
            run(
                [
                    sys.executable,
                    TASK / "predict.py",
                    "--run_dir",
                    single,
                    "--test_file",
                    held_out,
                    "--submission_file",
                    submission,
                ]
            )
        parts = [folds / "oof_logits.npz", folds / "eval_logits.npz", submission.with_suffix(".logits.npz")]
        table.append(f"| {name} | " + " | ".join(scores(Logits.load(path)) for path in parts) + " |")
        seconds = read_json(folds / "run.json")["seconds"]["train"]
        print(f"{table[-1]}  {seconds:.0f} s", flush=True)
        (args.output_dir / "choices.md").write_text("\n".join(table) + "\n", encoding="utf-8")
    print("\n" + "\n".join(table))


def split(clips: str, share: float, group_by_number: int, folder: Path) -> tuple[Path, Path]:
    """OUT/train and OUT/held_out, folders of classes whose clips are links; whole groups are held out, the same ones in
    every start."""
    examples = read_examples(clips, {"label_names": None, "group_by_number": group_by_number})
    random = np.random.default_rng(0)
    groups: dict[int, dict[str, list[ClipExample]]] = {}
    for example in examples:
        groups.setdefault(example.label, {}).setdefault(example.group, []).append(example)
    for label, of_label in groups.items():
        keys = sorted(of_label)
        held = set(random.permutation(keys)[: max(1, round(share * len(keys)))].tolist())
        for key, members in of_label.items():
            for example in members:
                part = folder / ("held_out" if key in held else "train")
                link = part / examples.label_names[label] / example.path.name
                link.parent.mkdir(parents=True, exist_ok=True)
                if not link.is_symlink():
                    link.symlink_to(example.path.resolve())
    return folder / "train", folder / "held_out"


def run(command: list) -> None:
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)


def scores(logits: Logits) -> str:
    """Log loss and accuracy of the labelled rows, each with its standard error over rows."""
    losses = row_log_losses(logits.logits, logits.labels)
    right = (logits.logits.argmax(axis=1) == logits.labels).astype(np.float64)
    return " | ".join(f"{v.mean():.3f} ± {v.std(ddof=1) / np.sqrt(len(v)):.3f}" for v in (losses, right))


if __name__ == "__main__":
    main()
