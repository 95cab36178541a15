"""The source's choices on faces, each setting trained on the same images and measured on the same others of reon_face/.

    python tests/benchmarks/reon_face_choices.py --faces FER2013 --model_name_or_path WEIGHTS --output_dir OUT -- \
        --num_train_epochs 5

Half of the images (whole groups) train, half are measured; --max_images of each. Start and learning rate under SGD, in
stages or all at once, SGD or AdamW, and the face alone or pasted into a frame: always on the left, on the left in
training and on the right when measured, or anywhere. What stands after -- goes to every train.py. Finished settings are
not trained again. Prints, and writes to OUT/choices.md after each setting, what tests/benchmarks/paired.py says. One
seed: the errors are over rows, not over training runs.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
from paired import paired_table

from common.examples import groups_of, labels_of
from common.files import read_json
from common.folds import split_folds
from common.logits import Logits

TASK = Path(__file__).parents[2] / "reon_face"
sys.path.insert(0, str(TASK))
from data import read_examples  # noqa: E402

SGD = [
    "--optim",
    "sgd",
    "--optim_args",
    "momentum=0.9",
    "--lr_scheduler_type",
    "constant",
    "--warmup_steps",
    "0",
    "--weight_decay",
    "0",
]
STAGES = [f"part={number}/4" for number in (1, 2, 3, 4)]
WISHED = ["--ema_decay", "0.98", "--mixup_alpha", "0.2", "--label_smoothing_factor", "0.1"]
# name: (images to train on, to measure on, options, what the source says of it against the base)
SETTINGS = {
    "base": ("faces", "faces", [*SGD, "--learning_rate", "0.05"], ""),
    "imagenet_0.001": ("faces", "faces", [*SGD, "--learning_rate", "0.001"], "hoped better"),
    "scratch_0.05": ("faces", "faces", [*SGD, "--learning_rate", "0.05", "--start", "scratch"], ""),
    "scratch_0.001": ("faces", "faces", [*SGD, "--learning_rate", "0.001", "--start", "scratch"], "better"),
    "staged_0.05": ("faces", "faces", [*SGD, "--learning_rate", "0.05", "--stages", *STAGES], "worse"),
    "adamw_cosine": ("faces", "faces", ["--learning_rate", "1e-3"], "hoped better"),
    "wished": ("faces", "faces", ["--learning_rate", "1e-3", *WISHED], "hoped better"),
    "frame_anywhere": ("anywhere", "anywhere", ["--learning_rate", "1e-3"], "worse"),
    "frame_left": ("left", "left", ["--learning_rate", "1e-3"], "worse"),
    "frame_left_to_right": ("left", "right", ["--learning_rate", "1e-3"], "worse"),
}
FRAME = 96  # pixels; the face has 48 of them


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--faces", required=True, help="folder of labels with images of 48 x 48 pixels, as FER2013 has them"
    )
    parser.add_argument("--model_name_or_path", required=True, help="folder of ImageNet weights")
    parser.add_argument("--output_dir", required=True, type=Path)
    parser.add_argument("--max_images", type=int, default=1600, help="to train on, and to measure on")
    parser.add_argument(
        "--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS), help="beside the base; default: all"
    )
    args, rest = parser.parse_known_args()
    prepare(args.faces, args.output_dir / "data", args.max_images)
    shared = [
        "--model_name_or_path",
        args.model_name_or_path,
        "--disable_tqdm",
        "true",
        "--eval_strategy",
        "no",
        "--save_strategy",
        "no",
    ]
    shared += ["--drop_rate", "0", "--label_smoothing_factor", "0", *[option for option in rest if option != "--"]]
    results, seconds = {}, []
    for name in dict.fromkeys(["base", *args.settings]):
        train, measured, options, _ = SETTINGS[name]
        source = next(other for other, setting in SETTINGS.items() if (setting[0], setting[2]) == (train, options))
        folder, data = args.output_dir / source, args.output_dir / "data"
        if not (folder / "metrics.json").exists():
            command = [
                "train.py",
                "--config",
                TASK / "configs" / "tune.yaml",
                *shared,
                "--output_dir",
                folder,
                "--resume",
                *options,
            ]
            run([*command, "--train_file", data / "train" / train, "--eval_file", data / "measured" / train])
        submission = folder / f"{measured}.csv"
        if not submission.with_suffix(".logits.npz").exists():
            run(
                [
                    "predict.py",
                    "--run_dir",
                    folder,
                    "--test_file",
                    data / "measured" / measured,
                    "--submission_file",
                    submission,
                ]
            )
        results[name] = Logits.load(submission.with_suffix(".logits.npz"))
        seconds.append(read_json(folder / "run.json")["seconds"]["train"])
        print(f"{name}: {seconds[-1]:.0f} s", flush=True)
        table = paired_table(
            results, {name: claim for name, (*_, claim) in SETTINGS.items()}, sum(seconds), {"macro F1": "macro_f1"}
        )
        (args.output_dir / "choices.md").write_text(table, encoding="utf-8")
    print("\n" + table)


def run(command: list) -> None:
    subprocess.run([sys.executable, TASK / command[0], *map(str, command[1:])], check=True, stdout=subprocess.DEVNULL)


def prepare(faces: str, folder: Path, max_images: int) -> None:
    """folder/{train,measured}/{faces,anywhere,left,right}/<label>/<name>.png; the same image has the same name
    everywhere."""
    if (folder / "done").exists():
        return
    rows = read_examples(faces, {"label_names": None, "subject_pattern": None})
    names = rows.label_names
    halves = split_folds(labels_of(rows), groups_of(rows), 2, seed=0)
    for half, (numbers, _) in zip(("train", "measured"), halves, strict=True):
        for number in numbers[:max_images]:
            row = rows[number]
            face, random = cv2.imread(row.path), np.random.default_rng(number)
            top, left, far, across = random.integers(0, [FRAME - 48, 12, 12, FRAME - 48], endpoint=True)
            # someone else's blurred face, enlarged: a frame that is not plain
            other = cv2.imread(rows[random.integers(len(rows))].path)
            ground = cv2.GaussianBlur(cv2.resize(other, (FRAME, FRAME)), (0, 0), 6)
            images = {"faces": face}
            for place, x in {"anywhere": across, "left": left, "right": FRAME - 48 - far}.items():
                images[place] = ground.copy()
                images[place][top : top + 48, x : x + 48] = face
            for place, image in images.items():
                path = folder / half / place / names[row.label] / Path(row.id).name
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(os.fspath(path.with_suffix(".png")), image)
    (folder / "done").touch()


if __name__ == "__main__":
    main()
