"""One model trained by <task>/train.py, and by Hugging Face's run_classification.py, side by side on the same rows.

    python tests/benchmarks/against_example.py --task nsmc --train_file T.txt --eval_file D.txt --model_name_or_path MODEL \
        --example run_classification.py --output_dir OUT --rows 2000 --rounds 3 --threads 1

--example: the text of examples/pytorch/text-classification/run_classification.py of huggingface/transformers.

example: at its defaults (rows padded to 128 tokens, batch 8, float32). example_best: with the Trainer's best options:
padded to the longest of a batch, rows of similar length together, bf16, batch 32. ours: <task>/train.py with
the preset tune, bf16 and batch 32. ours_full: that, with --full_vocabulary. ours_8: ours as example's defaults say,
batch 8 and float32. Same texts (a row's own one, without a context), labels, model, learning rate and schedule, epochs
and threads. Each training is a process of its own; the recipes take turns, `--rounds` times with other seeds.

Prints a Markdown table of Trainer.train(): rows per second and per second of CPU time (which other processes of the machine
disturb less), and their ratios to the example's; accuracy on eval_file, and the peak resident memory of the process. Each
cell is a median and the range over the rounds. --sizes: only the bytes of a checkpoint and of a finished fold, with and without.
"""

import argparse
import csv
import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[2]
RECIPES = ("example", "example_best", "ours", "ours_full", "ours_8")
# Runs a script as `python SCRIPT ...` does, and writes how long its Trainer.train() takes.
TIMED = """import json, os, runpy, sys, time
from transformers import Trainer
path, *sys.argv = sys.argv[1:]
sys.path.insert(0, os.path.dirname(sys.argv[0]))
train = Trainer.train

def timed(*args, **kwargs):
    wall, cpu = time.perf_counter(), time.process_time()
    output = train(*args, **kwargs)
    with open(path, "w") as file:
        json.dump({"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}, file)
    return output

Trainer.train = timed
runpy.run_path(sys.argv[0], run_name="__main__")
"""
METRIC = """import datasets
import evaluate


class Accuracy(evaluate.Metric):
    def _info(self):
        features = datasets.Features({"predictions": datasets.Value("int32"), "references": datasets.Value("int32")})
        return evaluate.MetricInfo(description="", citation="", features=features)

    def _compute(self, predictions, references):
        return {"accuracy": float(sum(a == b for a, b in zip(predictions, references)) / len(references))}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=["nsmc", "friends"], required=True)
    for name in ("train_file", "eval_file", "model_name_or_path", "output_dir"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--example", help="the text of run_classification.py")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--eval_rows", type=int, default=500)
    parser.add_argument("--learning_rate", type=float, default=1e-4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--sizes", action="store_true")
    args = parser.parse_args()
    folder = Path(args.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    if args.sizes:
        print_sizes(args, folder)
        return
    write_rows(args, folder)
    found = {recipe: [] for recipe in args.recipes}
    for seed in range(args.rounds):
        for recipe in args.recipes:
            found[recipe].append(train(args, folder, recipe, seed))
            print(recipe, seed, found[recipe][-1], flush=True, file=sys.stderr)
    print(f"\n{args.task}, {args.rows} rows, {args.threads} threads, {args.rounds} rounds\n")
    print(table(found))


def write_rows(args: argparse.Namespace, folder: Path) -> None:
    """train.csv and validation.csv with `sentence` and `label`, as <task>/data.py reads the rows, and the metric."""
    sys.path.insert(0, str(ROOT))
    data = importlib.import_module(f"{args.task}.data")
    for name, path, limit in (("train", args.train_file, args.rows), ("validation", args.eval_file, args.eval_rows)):
        rows = data.read_examples(path, data.make_preprocessing(task_arguments(data, path)))[:limit]
        with open(folder / f"{name}.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["sentence", "label"])
            writer.writerows([row.segments[row.main], row.label] for row in rows)
    (folder / "accuracy.py").write_text(METRIC)
    (folder / "timed.py").write_text(TIMED)


def task_arguments(data, path):
    """The task's arguments as ours() gives them, as far as reading goes."""
    context = {"context": "current"} if "context" in data.TaskArguments.__dataclass_fields__ else {}
    return data.TaskArguments(train_file=path, **context)


def ours(args: argparse.Namespace, *options: str) -> list[str]:
    command = [sys.executable, str(ROOT / args.task / "train.py")]
    command += ["--config", str(ROOT / args.task / "configs" / "tune.yaml")]
    for name in ("train_file", "eval_file", "model_name_or_path", "learning_rate"):
        command += [f"--{name}", str(getattr(args, name))]
    command += ["--max_train_samples", str(args.rows), "--max_eval_samples", str(args.eval_rows), "--max_length", "128"]
    command += ["--warmup_steps", "0", "--torch_num_threads", str(args.threads), "--disable_tqdm", "true"]
    command += ["--context", "current"] if args.task == "friends" else []
    return [*command, *options]


def train(args: argparse.Namespace, folder: Path, recipe: str, seed: int) -> dict[str, float]:
    """Train in a process of its own: rows per second and per CPU second, accuracy, and the peak memory in GB."""
    out = folder / f"{recipe}-{seed}"
    shutil.rmtree(out, ignore_errors=True)
    same = ["--num_train_epochs", "1", "--save_strategy", "no", "--seed", str(seed), "--output_dir", str(out)]
    if recipe.startswith("ours"):
        batch = "8" if recipe == "ours_8" else "32"
        command = ours(args, *same, "--per_device_train_batch_size", batch, "--eval_strategy", "no")
        command += ["--full_vocabulary"] if recipe == "ours_full" else []
    else:
        command = [
            sys.executable,
            args.example,
            "--do_train",
            "--do_eval",
            *same,
            "--metric_name",
            f"{folder}/accuracy.py",
        ]
        command += ["--train_file", f"{folder}/train.csv", "--validation_file", f"{folder}/validation.csv"]
        command += ["--model_name_or_path", args.model_name_or_path, "--learning_rate", str(args.learning_rate)]
        command += ["--report_to", "none", "--disable_tqdm", "true"]
        command += [] if torch.accelerator.is_available() else ["--use_cpu"]
    if recipe == "example_best":
        command += ["--pad_to_max_length", "false", "--train_sampling_strategy", "group_by_length"]
        command += ["--per_device_train_batch_size", "32"]
    command += ["--bf16"] if recipe not in ("example", "ours_8") else []
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(args.threads), "HF_HUB_OFFLINE": "1"}
    times = folder / "times.json"
    usage = run([sys.executable, str(folder / "timed.py"), str(times), *command[1:]], environment)
    seconds = json.loads(times.read_text())
    if recipe.startswith("ours"):
        accuracy = json.loads((out / "metrics.json").read_text())["eval"]["accuracy"]
    else:
        accuracy = json.loads((out / "eval_results.json").read_text())["eval_accuracy"]
    shutil.rmtree(out)
    speeds = {"speed": args.rows / seconds["wall"], "cpu": args.rows / seconds["cpu"]}
    return {**speeds, "accuracy": accuracy, "memory": usage.ru_maxrss / 1e6}


def run(command: list[str], environment: dict[str, str]):
    """The resources that a command took. Raises SystemExit with what it printed where it fails."""
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        output.seek(0)
        if status:
            raise SystemExit(f"{' '.join(command)}\n{output.read()}")
    return usage


def table(found: dict[str, list[dict[str, float]]]) -> str:
    """Markdown; medians and ranges over the rounds."""
    of_example = [recipe for recipe in ("example", "example_best") if recipe in found]
    names = ["recipe", "rows/s", "rows/CPU s", "accuracy", "GB"]
    names += [f"x {recipe}, {unit}" for recipe in of_example for unit in ("seconds", "CPU seconds")]
    lines = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for recipe, results in found.items():
        columns = {key: np.array([result[key] for result in results]) for key in results[0]}
        cells = [spread(columns["speed"], 1), spread(columns["cpu"], 1), spread(columns["accuracy"], 3)]
        cells.append(f"{columns['memory'].max():.2f}")
        for other in of_example:
            for unit in ("speed", "cpu"):
                cells.append(spread(columns[unit] / [result[unit] for result in found[other]], 2))
        lines.append(f"| {recipe} | {' | '.join(cells)} |")
    return "\n".join(lines)


def spread(values: np.ndarray, digits: int) -> str:
    return f"{np.median(values):.{digits}f} ({values.min():.{digits}f} to {values.max():.{digits}f})"


def print_sizes(args: argparse.Namespace, folder: Path) -> None:
    """Megabytes of a checkpoint (model, optimizer, all else) and of the finished fold, with and without the vocabulary in
    use."""
    for full in ("false", "true"):
        out = folder / f"sizes-{full}"
        shutil.rmtree(out, ignore_errors=True)
        options = ["--num_train_epochs", "2", "--save_strategy", "epoch", "--output_dir", str(out), "--bf16"]
        command = ours(args, *options, "--full_vocabulary", full)
        run([*command, "--stop_after_epoch", "1"], {**os.environ, "PYTHONPATH": str(ROOT)})
        checkpoint = max((out / "fold0" / "checkpoints").glob("checkpoint-*"))
        sizes = [megabytes(checkpoint / name) for name in ("model.safetensors", "optimizer.pt", "")]
        run([*command, "--resume"], {**os.environ, "PYTHONPATH": str(ROOT)})
        print(
            f"full_vocabulary {full}: checkpoint {sizes[2]:.0f} MB (weights {sizes[0]:.0f}, moments {sizes[1]:.0f}), ",
            end="",
        )
        print(f"fold {megabytes(out / 'fold0'):.0f} MB", flush=True)
        shutil.rmtree(out)


def megabytes(path: Path) -> float:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files) / 1e6


if __name__ == "__main__":
    main()
