"""One model trained by reon_face/train.py, and by timm's train.py, side by side on the same images.

    python tests/benchmarks/against_timm.py --images FER2013 --model_name_or_path WEIGHTS --example train.py --output_dir OUT \
        --rows 640 --eval_rows 320 --rounds 3 --threads 2 --recipes timm:4 timm_best:1 ours:0 ours:1

--example: the text of train.py of huggingface/pytorch-image-models. --images: a folder per label. --model_name_or_path:
a folder of timm's weights.

A recipe is a name and a number of data loader workers. timm: as its options default (four workers are its default).
timm_best: with channels_last and a fused optimizer. ours: reon_face/train.py with the preset tune. Each with _bf16
behind its name: in bfloat16 (autocast). Same images, and whole groups of identical ones held out, weights, size of the
classifier's first weights, image size, batch, epochs, AdamW with its weight decay and clipping, cosine schedule a step,
label smoothing, dropout, random crops, mirror images, colours and threads; no mixup, of which timm mixes bytes and ours
floats. Each training is a process of its own; the recipes take turns, `--rounds` times with other seeds.

Prints a Markdown table of the training alone (timm's train_one_epoch(), Trainer.train()): images per second, and per
second of CPU time of all its processes (which others on the machine disturb less), their ratios to the first recipe,
accuracy on the held-out images after the last epoch, and the peak resident memory of the main process. Each cell is a
median and the range over the rounds.
"""

import argparse
import csv
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
from against_example import ROOT, run, spread

from common.examples import groups_of, labels_of
from common.files import read_json
from common.folds import split_folds

TASK = ROOT / "reon_face"
sys.path.insert(0, str(TASK))
from data import Faces, read_examples  # noqa: E402

NAMES = ("timm", "timm_best", "ours", "timm_bf16", "timm_best_bf16", "ours_bf16")
WEIGHT_DECAY = 0.05  # of the preset tune, as the smoothing and the dropout below
CLASSIFIER_STD = 0.01  # as reon_face/model.py has it


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("images", "model_name_or_path", "example", "output_dir"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--rows", type=int, default=640)
    parser.add_argument("--eval_rows", type=int, default=320)
    parser.add_argument("--image_size", type=int, default=64)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--learning_rate", type=float, default=1e-3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument(
        "--recipes",
        nargs="+",
        type=recipe_of,
        default=[recipe_of(text) for text in ("timm:4", "timm_best:1", "ours:1")],
    )
    args = parser.parse_args()
    if args.rows % args.batch_size:
        parser.error("--rows: is no multiple of --batch_size, and timm leaves an incomplete batch out")
    folder = Path(args.output_dir)
    labels = write_images(args, folder / "images")
    found = {recipe: [] for recipe in args.recipes}
    for seed in range(args.rounds):
        for recipe in args.recipes:
            found[recipe].append(train(args, folder, labels, recipe, seed))
            print(*recipe, seed, found[recipe][-1], flush=True, file=sys.stderr)
    print(f"\n{args.rows} images, {args.epochs} epochs, {args.image_size} pixels, batch {args.batch_size}, ", end="")
    print(f"{args.threads} threads, {args.rounds} rounds\n")
    print(table(found))


def recipe_of(text: str) -> tuple[str, int]:
    """("timm", 4) of timm:4. Raises ValueError."""
    name, _, workers = text.partition(":")
    if name not in NAMES:
        raise ValueError(text)
    return name, int(workers)


def write_images(args: argparse.Namespace, folder: Path) -> int:
    """folder/{train,validation}/<label>/<name>, identical images on one side; how many labels there are."""
    faces = read_examples(args.images, {"label_names": None, "subject_pattern": None})
    train, held_out = split_folds(labels_of(faces), groups_of(faces), 2, seed=0)[0]
    shutil.rmtree(folder, ignore_errors=True)
    for name, numbers in (("train", train[: args.rows]), ("validation", held_out[: args.eval_rows])):
        copy_images(faces, numbers, folder / name)
    return len(faces.label_names)


def copy_images(faces: Faces, numbers: np.ndarray, folder: Path) -> None:
    for number in numbers:
        face = faces[number]
        path = folder / faces.label_names[face.label] / Path(face.path).name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(face.path, path)


def train(args: argparse.Namespace, folder: Path, labels: int, recipe: tuple[str, int], seed: int) -> dict[str, float]:
    """Train in a process of its own: images per second and per CPU second, accuracy, and the peak memory in GB."""
    name, workers = recipe
    out = folder / f"{name}-{workers}-{seed}"
    shutil.rmtree(out, ignore_errors=True)
    of_timm = name.startswith("timm")
    command = timm_options(args, folder, labels, name) if of_timm else our_options(args, folder, name)
    command += [f"--{'workers' if of_timm else 'dataloader_num_workers'}", str(workers), "--seed", str(seed)]
    command += ["--output", str(folder), "--experiment", out.name] if of_timm else ["--output_dir", str(out)]
    times = folder / "times.json"
    timed = [sys.executable, str(ROOT / "tests" / "benchmarks" / "timed.py"), str(times)]
    timed += ["train_one_epoch", args.example] if of_timm else ["Trainer.train", str(TASK / "train.py")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(args.threads), "HF_HUB_OFFLINE": "1"}
    usage = run([*timed, *command], environment)
    seconds = json.loads(times.read_text())
    rows = args.rows * args.epochs
    accuracy = timm_accuracy(out) if of_timm else read_json(out / "metrics.json")["eval"]["accuracy"]
    shutil.rmtree(out)
    speeds = {"speed": rows / seconds["wall"], "cpu": rows / seconds["cpu"]}
    return {**speeds, "accuracy": accuracy, "memory": usage.ru_maxrss / 1e6}


def our_options(args: argparse.Namespace, folder: Path, name: str) -> list[str]:
    images = folder / "images"
    command = ["--config", str(TASK / "configs" / "tune.yaml"), "--model_name_or_path", args.model_name_or_path]
    command += ["--train_file", str(images / "train"), "--eval_file", str(images / "validation")]
    command += ["--image_size", str(args.image_size), "--per_device_train_batch_size", str(args.batch_size)]
    command += ["--num_train_epochs", str(args.epochs), "--learning_rate", str(args.learning_rate)]
    command += ["--mixup_alpha", "0", "--warmup_steps", "0", "--torch_num_threads", str(args.threads)]
    command += ["--eval_strategy", "no", "--save_strategy", "no", "--disable_tqdm", "true"]
    return [*command, *(["--bf16", "true"] if name.endswith("bf16") else [])]


def timm_options(args: argparse.Namespace, folder: Path, labels: int, name: str) -> list[str]:
    """The same for timm's train.py, as far as it can be said to it."""
    weights = Path(args.model_name_or_path)
    config = read_json(weights / "config.json")
    settings = config["pretrained_cfg"]
    size = str(args.image_size)
    command = ["--data-dir", str(folder / "images"), "--model", config["architecture"], "--num-classes", str(labels)]
    command += ["--pretrained", "--pretrained-path", str(weights / "model.safetensors")]
    scale = CLASSIFIER_STD * (3 * labels) ** 0.5  # timm draws the classifier's weights from +- 1 / sqrt(classes)
    command += ["--head-init-scale", str(scale), "--input-size", "3", size, size, "--crop-pct", "1"]
    for key in ("mean", "std"):
        command += [f"--{key}", *map(str, settings[key])]
    command += ["--interpolation", settings["interpolation"], "--train-interpolation", settings["interpolation"]]
    command += ["--scale", "0.7", "1", "--ratio", "0.9", "1.1", "--color-jitter", "0.2", "--hflip", "0.5"]
    command += ["--smoothing", "0.1", "--drop", "0.2", "--batch-size", str(args.batch_size)]
    command += [
        "--opt",
        "adamw",
        "--lr",
        str(args.learning_rate),
        "--weight-decay",
        str(WEIGHT_DECAY),
        "--clip-grad",
        "1",
    ]
    command += ["--sched-on-updates", "--warmup-epochs", "0", "--epochs", str(args.epochs)]
    command += ["--checkpoint-hist", "1", "--device", device()]
    command += ["--channels-last", "--opt-kwargs", "fused=True"] if "best" in name else []
    return [*command, *(["--amp", "--amp-dtype", "bfloat16"] if name.endswith("bf16") else [])]


def device() -> str:
    import torch

    return torch.accelerator.current_accelerator().type if torch.accelerator.is_available() else "cpu"


def timm_accuracy(out: Path) -> float:
    """On the held-out images after the last epoch, from its summary.csv, where it stands in percent."""
    with open(out / "summary.csv", encoding="utf-8") as file:
        return float(list(csv.DictReader(file))[-1]["eval_top1"]) / 100


def table(found: dict[tuple[str, int], list[dict[str, float]]]) -> str:
    """Markdown; medians and ranges over the rounds."""
    first = next(iter(found.values()))
    names = ["recipe", "workers", "images/s", "images/CPU s", "accuracy", "GB", "x the first, seconds", "CPU seconds"]
    lines = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for (name, workers), results in found.items():
        columns = {key: np.array([result[key] for result in results]) for key in results[0]}
        cells = [spread(columns["speed"], 1), spread(columns["cpu"], 1), spread(columns["accuracy"], 3)]
        cells.append(f"{columns['memory'].max():.2f}")
        cells += [spread(columns[unit] / [result[unit] for result in first], 2) for unit in ("speed", "cpu")]
        lines.append(f"| {name} | {workers} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
