"""Whether time and memory grow with the rows as they should: reading, tokenizing and batching, without training.

    python tests/benchmarks/row_scaling.py --train_file ratings_train.txt --model_name_or_path MODEL --rows 1000 10000 100000

The first rows of a file of nsmc, each number in a process of its own, one thread: read_examples(), the folds, then
find_max_length() and tokenize() into an Arrow file, then every batch of an epoch as the trainer's loader makes them.
Prints the seconds and the rows per second of each, and the peak resident memory above that of the imports. The cache of
token ids is off.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("read", "split", "tokenize", "batch")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train_file", required=True)
    parser.add_argument("--model_name_or_path", required=True, help="whose tokenizer is used")
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 10000, 100000])
    parser.add_argument("--rounds", type=int, default=3, help="the fastest of these counts")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(measure(args)))
        return
    print(f"| rows | {' | '.join(f'{part}, s' for part in PARTS)} | rows/s | MB | bytes a row |\n|{'---|' * 8}")
    for rows in args.rows:
        results = [in_a_process(args, rows) for _ in range(args.rounds)]
        seconds = {part: min(result[part] for result in results) for part in PARTS}
        memory = min(result["bytes"] for result in results)
        cells = " | ".join(f"{seconds[part]:.2f}" for part in PARTS)
        rate = rows / sum(seconds.values())
        print(f"| {rows:,} | {cells} | {rate:,.0f} | {memory / 1e6:,.0f} | {memory / rows:,.0f} |", flush=True)


def in_a_process(args: argparse.Namespace, rows: int) -> dict[str, float]:
    """What measure() says of so many rows."""
    command = [sys.executable, __file__, "--child", "--train_file", args.train_file]
    command += ["--model_name_or_path", args.model_name_or_path, "--rows", str(rows)]
    env = {**os.environ, "COMPETITION_RECIPES_CACHE": "off", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    env |= {"PYTHONPATH": str(ROOT), "RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    return json.loads(
        subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[-1]
    )


def measure(args: argparse.Namespace) -> dict[str, float]:
    """Seconds of each part, and bytes of memory at the peak above those of the imports."""
    from torch.utils.data import DataLoader

    sys.path.insert(0, str(ROOT / "nsmc"))
    from common.batches import LengthBatchSampler, row_lengths
    from common.folds import make_splits
    from common.models import load_tokenizer
    from common.progress.meter import peak_resident
    from common.text import Collator, find_max_length, tokenize

    from data import LABEL_NAMES, TaskArguments, make_preprocessing, read_examples

    task = TaskArguments(model_name_or_path=args.model_name_or_path, num_folds=5)
    tokenizer = load_tokenizer(task, [])
    seconds = {}
    before = peak_resident()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.txt"
        with open(args.train_file, encoding="utf-8") as file:
            path.write_text("".join(line for line, _ in zip(file, range(args.rows[0] + 1), strict=False)), "utf-8")
        with timed(seconds, "read"):
            examples = read_examples(str(path), make_preprocessing(task))
        with timed(seconds, "split"):
            make_splits({"train": examples}, LABEL_NAMES, task)
        with timed(seconds, "tokenize"):
            length, _ = find_max_length(examples, tokenizer, "64")
            dataset = tokenize(examples, tokenizer, length, Path(folder) / "train.arrow")
        with timed(seconds, "batch"):
            batches = LengthBatchSampler(row_lengths(dataset), 32, seed=42)
            for _ in DataLoader(dataset, batch_sampler=batches, collate_fn=Collator(tokenizer)):
                pass
    return {**seconds, "bytes": peak_resident() - before}


class timed:
    """Write the seconds that a block takes into a dict."""

    def __init__(self, seconds: dict[str, float], name: str):
        self.seconds, self.name = seconds, name

    def __enter__(self) -> None:
        self.began = time.perf_counter()

    def __exit__(self, *_) -> None:
        self.seconds[self.name] = time.perf_counter() - self.began


if __name__ == "__main__":
    main()
