"""Training speed of text rows: the stock recipe, the Trainer's own options and ours, on the same rows, side by side.

    python tests/benchmarks/text_training.py --task nsmc --train_file T.txt --eval_file D.txt \
        --model_name_or_path MODEL --output_dir OUT

stock_64, stock_128: what Hugging Face's text-classification example does: rows padded to a fixed length, in random
order. dynamic: padded to the longest row of the batch. grouped: that, with train_sampling_strategy="group_by_length".
ours: <task>/train.py. ours_budget: that, with --tokens_per_batch for as many steps. Same rows, tokens, model, batch
size, learning rate, steps, precision and threads. Each training is a process of its own; the recipes take turns,
`--rounds` times with other seeds.

Prints a Markdown table a precision: rows and useful tokens per second, share of padding, peak resident memory, accuracy
on eval_file, the useful share of a matrix product's speed (the operations of the encoder's layers, forward and
backward, padding not counted, over those of a large product in the same precision), and the ratio to stock_128, with
the bound that leaving out all padding sets.
"""

import argparse
import importlib
import itertools
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
RECIPES = ("stock_64", "stock_128", "dynamic", "grouped", "ours", "ours_budget")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=["nsmc", "friends"], required=True)
    for name in ("train_file", "eval_file", "model_name_or_path", "output_dir"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--eval_rows", type=int, default=1000)
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--learning_rate", type=float, default=1e-4)
    parser.add_argument("--precisions", nargs="+", choices=["float32", "bf16"], default=["float32", "bf16"])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--recipe", help=argparse.SUPPRESS)  # a training, in a process of its own
    parser.add_argument("--precision", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.recipe:
        print(json.dumps(train_plainly(args)))
        return
    with tempfile.TemporaryDirectory() as cache:
        lengths = row_lengths_of(args, Path(cache))
    flops = layer_flops(args.model_name_or_path, lengths)
    for precision in args.precisions:
        found = {recipe: [] for recipe in args.recipes}
        for seed in range(args.rounds):
            for recipe in args.recipes:
                peak = matrix_product_flops(precision, args.threads)
                found[recipe].append({**train(args, recipe, precision, seed, lengths), "peak": peak})
        print(
            f"\n{args.task}, {args.rows} rows, batch {args.batch_size}, {precision}, {args.threads} threads, "
            f"{args.rounds} seeds\n"
        )
        print(table(found, flops.mean(), float(layer_flops(args.model_name_or_path, 128) / flops.mean())), flush=True)


def train(args: argparse.Namespace, recipe: str, precision: str, seed: int, lengths: np.ndarray) -> dict[str, float]:
    """Train in a process of its own: rows_per_second, tokens_per_second, padding, accuracy, and the peak memory in
    GB."""
    budget = tokens_for_steps(lengths, math.ceil(args.rows / args.batch_size)) if recipe == "ours_budget" else None
    if recipe.startswith("ours"):
        folder = Path(args.output_dir) / f"{args.task}-{recipe}-{precision}-{seed}"
        command = [
            sys.executable,
            str(ROOT / args.task / "train.py"),
            "--config",
            str(ROOT / args.task / "configs" / "tune.yaml"),
        ]
        for name in ("train_file", "eval_file", "model_name_or_path", "learning_rate"):
            command += [f"--{name}", str(getattr(args, name))]
        command += [
            "--max_train_samples",
            str(args.rows),
            "--max_eval_samples",
            str(args.eval_rows),
            "--max_length",
            "128",
        ]
        command += [
            "--per_device_train_batch_size",
            str(args.batch_size),
            "--num_train_epochs",
            "1",
            "--warmup_steps",
            "0",
        ]
        command += ["--weight_decay", "0", "--eval_strategy", "no", "--save_strategy", "no"]
        command += ["--tokens_per_batch", str(budget)] if budget else []
        command += ["--seed", str(seed), "--torch_num_threads", str(args.threads)]
        command += ["--disable_tqdm", "true", "--output_dir", str(folder), *(["--bf16"] if precision == "bf16" else [])]
    else:
        command = [
            sys.executable,
            __file__,
            *sys.argv[1:],
            "--recipe",
            recipe,
            "--precision",
            precision,
            "--seed",
            str(seed),
        ]
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
        _, status, usage = os.wait4(process.pid, 0)
        output.seek(0)
        printed = output.read()
    if status:
        raise SystemExit(f"{' '.join(command)}\n{printed}")
    result = (
        ours(folder, lengths, args.batch_size, budget, seed)
        if recipe.startswith("ours")
        else json.loads(printed.splitlines()[-1])
    )
    print(recipe, precision, seed, result, flush=True, file=sys.stderr)
    return {**result, "memory": usage.ru_maxrss / 1e6}


def matrix_product_flops(precision: str, threads: int, size: int = 2048) -> float:
    """Floating-point operations per second of the fastest of five products of two (size, size) matrices."""
    import torch

    torch.set_num_threads(threads)
    a = torch.randn(size, size, dtype=torch.bfloat16 if precision == "bf16" else torch.float32)
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        a @ a
        seconds.append(time.perf_counter() - began)
    return 2 * size**3 / min(seconds)


def tokenized(args: argparse.Namespace, folder: Path) -> tuple:
    """(tokenizer, training rows, evaluated rows) as <task>/train.py makes them."""
    from common.models import load_tokenizer
    from common.options import TextTaskArguments
    from common.text import tokenize

    data = importlib.import_module(f"{args.task}.data")
    parts = []
    for path, limit in ((args.train_file, args.rows), (args.eval_file, args.eval_rows)):
        if args.task == "nsmc":
            parts.append(data.read_examples(path, {})[:limit])
        else:
            parts.append(
                data.make_examples(data.read_utterances(path, repair=True)[:limit], "colon", "current_previous", None)
            )
    tokenizer = load_tokenizer(TextTaskArguments(model_name_or_path=args.model_name_or_path), [])
    return tokenizer, *(tokenize(rows, tokenizer, 128, folder / f"{i}.arrow") for i, rows in enumerate(parts))


def row_lengths_of(args: argparse.Namespace, folder: Path) -> np.ndarray:
    """(N,) tokens of the training rows."""
    from common.batches import row_lengths

    return row_lengths(tokenized(args, folder)[1])


def train_plainly(args: argparse.Namespace) -> dict[str, float]:
    """One epoch of transformers.Trainer with its defaults and the recipe's padding and order."""
    import torch
    from transformers import DataCollatorWithPadding, Trainer, TrainingArguments, set_seed

    from common.models import load_model
    from common.options import TextTaskArguments

    torch.set_num_threads(args.threads)
    set_seed(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        tokenizer, train_rows, eval_rows = tokenized(args, Path(folder))
        label_names = importlib.import_module(f"{args.task}.data").LABEL_NAMES
        train_rows, eval_rows = (rows.remove_columns("id") for rows in (train_rows, eval_rows))
        fixed = int(args.recipe.removeprefix("stock_")) if args.recipe.startswith("stock_") else None
        if fixed:
            cut = {"input_ids", "attention_mask", "token_type_ids"} & set(train_rows.column_names)
            train_rows, eval_rows = (
                rows.map(lambda row: {key: row[key][:fixed] for key in cut}) for rows in (train_rows, eval_rows)
            )
        pad = DataCollatorWithPadding(tokenizer, padding="max_length" if fixed else True, max_length=fixed)
        counts = np.zeros(2)

        def collate(rows: list[dict]) -> dict[str, torch.Tensor]:
            batch = pad(rows)
            counts[:] += int(batch["attention_mask"].sum()), batch["attention_mask"].numel()
            return batch

        model = load_model(TextTaskArguments(model_name_or_path=args.model_name_or_path), label_names, tokenizer)
        trainer = Trainer(
            model,
            TrainingArguments(
                output_dir=folder,
                per_device_train_batch_size=args.batch_size,
                num_train_epochs=1,
                learning_rate=args.learning_rate,
                train_sampling_strategy="group_by_length" if args.recipe == "grouped" else "random",
                bf16=args.precision == "bf16",
                use_cpu=not torch.accelerator.is_available(),
                seed=args.seed,
                save_strategy="no",
                report_to=[],
                disable_tqdm=True,
            ),
            train_dataset=train_rows,
            data_collator=collate,
        )
        seconds = trainer.train().metrics["train_runtime"]
        tokens, places = counts
        trainer.args.train_sampling_strategy = "random"  # or predict() would take the rows in another order
        predicted = trainer.predict(eval_rows)
    return {
        "rows_per_second": args.rows / seconds,
        "tokens_per_second": tokens / seconds,
        "padding": 1 - tokens / places,
        "accuracy": float((predicted.predictions.argmax(axis=1) == predicted.label_ids).mean()),
    }


def tokens_for_steps(lengths: np.ndarray, steps: int) -> int:
    """The smallest --tokens_per_batch that takes no more steps."""
    from common.batches import token_budget_sizes

    ordered = np.sort(lengths)
    return next(
        tokens for tokens in itertools.count(int(ordered[-1])) if len(token_budget_sizes(ordered, tokens)) <= steps
    )


def ours(folder: Path, lengths: np.ndarray, batch_size: int, budget: int | None, seed: int) -> dict[str, float]:
    """What the run of train.py says of itself, and the padding of its batches. lengths: (N,) tokens of the training
    rows."""
    from common.batches import LengthBatchSampler
    from common.files import read_json
    from common.tricks.token_budget import TokenBudgetBatchSampler

    metrics = read_json(folder / "metrics.json")
    batches = (
        TokenBudgetBatchSampler(lengths, budget, seed) if budget else LengthBatchSampler(lengths, batch_size, seed)
    )
    padded = sum(len(batch) * lengths[batch].max() for batch in batches)
    speed = metrics["train_samples_per_second"]
    return {
        "rows_per_second": speed,
        "tokens_per_second": float(speed * lengths.mean()),
        "padding": float(1 - lengths.sum() / padded),
        "accuracy": metrics["eval"]["accuracy"],
    }


def layer_flops(model_name_or_path: str, lengths: np.ndarray) -> np.ndarray:
    """Floating-point operations of the encoder's layers, forward, for rows of these lengths.

    Per layer and row of n tokens: projections 8 n h^2, feed-forward 4 n h f, scores and their product with the values 4
    n^2 h.
    """
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(model_name_or_path)
    n, hidden, inner = np.asarray(lengths, dtype=np.float64), config.hidden_size, config.intermediate_size
    return config.num_hidden_layers * (n * (8 * hidden**2 + 4 * hidden * inner) + 4 * n**2 * hidden)


def table(found: dict[str, list[dict[str, float]]], row_flops: float, bound: float) -> str:
    """Markdown; means over the rounds, and the ratio's standard error over them where there are two or more.

    row_flops: forward operations of a row of mean length without padding. bound: what the ratio can be at most.
    """
    base = np.array([result["rows_per_second"] for result in found.get("stock_128", next(iter(found.values())))])
    lines = [
        "| recipe | rows/s | tokens/s | padding | GB | accuracy | of a matrix product | × stock_128 |",
        "|---" * 8 + "|",
    ]
    for recipe, results in found.items():
        mean = {key: np.mean([result[key] for result in results]) for key in results[0]}
        ratios = np.array([result["rows_per_second"] for result in results]) / base
        error = f" ± {ratios.std(ddof=1) / np.sqrt(len(ratios)):.2f}" if len(ratios) > 1 else ""
        useful = np.mean(
            [3 * row_flops * result["rows_per_second"] / result["peak"] for result in results]
        )  # backward: twice forward
        lines.append(
            f"| {recipe} | {mean['rows_per_second']:.1f} | {mean['tokens_per_second']:.0f} | {mean['padding']:.1%} | "
            f"{mean['memory']:.2f} "
            f"| {mean['accuracy']:.3f} | {useful:.0%} | {ratios.mean():.2f}{error} |"
        )
    return "\n".join([*lines, "", f"No padding at all: at most {bound:.2f} × stock_128."])


if __name__ == "__main__":
    main()
