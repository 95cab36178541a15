"""Prediction speed on text rows: transformers' pipeline() at its best batch size and onnxruntime against ours, on the
same rows with the same model.

    # RUN: a run of nsmc/train.py
    python tests/benchmarks/text_inference.py --run_dir RUN --test_file ratings_test.txt --rows 1000

Both start from strings and end with logits in the rows' order; loading the model is not counted. Takes turns,
`--rounds` times. Prints a Markdown table, the largest difference between both sides' probabilities, and what `--folds`
folds cost: ours as predict.py does it, tokenized once, pipeline() as often as there are folds. onnxruntime gets our
tokens and batches. int8 is that of predict.py --int8.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from accelerate import Accelerator
from onnxruntime import InferenceSession, SessionOptions
from transformers import PreTrainedModel, pipeline

from common.inference import predict_logits
from common.models import load_fold
from common.run import finished_folds
from common.text import Collator, tokenize
from common.tricks.int8 import Int8Model

sys.path.insert(0, str(Path(__file__).parents[2]))

from nsmc.data import LABEL_NAMES, read_examples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run_dir", required=True)
    parser.add_argument("--test_file", required=True)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch_sizes", type=int, nargs="+", default=[1, 8, 16, 32, 64])
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--bf16", action="store_true", help="each way a second time, in bf16 (autocast)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    accelerator = Accelerator(cpu=not torch.accelerator.is_available())
    model, tokenizer = load_fold(finished_folds(args.run_dir)[0], accelerator.device, LABEL_NAMES, ("max_length",))
    max_length = model.config.preprocessing["max_length"]
    rows = read_examples(args.test_file, {})[: args.rows]
    texts = [row.segments[0] for row in rows]
    pipe = pipeline("text-classification", model=model, tokenizer=tokenizer, device=accelerator.device, top_k=None)

    int8 = Int8Model(model)
    onnx = OnnxModel(model, Collator(tokenizer)(tokenize(rows[:2], tokenizer, max_length)), args.threads)

    def ours(folds: int = 1, model: torch.nn.Module = model) -> np.ndarray:
        with tempfile.TemporaryDirectory() as cache:
            dataset = tokenize(rows, tokenizer, max_length, Path(cache) / "rows.arrow")
            for _ in range(folds):
                logits = predict_logits(model, dataset, Collator(tokenizer), accelerator, LABEL_NAMES)
        return logits.probabilities()

    def onnxruntime() -> np.ndarray:
        torch.set_num_threads(1)  # one batch after the other: the session has its own threads
        try:
            return ours(1, onnx)
        finally:
            torch.set_num_threads(args.threads)

    def piped(batch_size: int) -> np.ndarray:
        found = pipe(texts, batch_size=batch_size, truncation=True, max_length=max_length)
        return np.array(
            [[next(s["score"] for s in row if s["label"] == name) for name in LABEL_NAMES] for row in found]
        )

    def in_bf16(way: Callable[[], np.ndarray]) -> np.ndarray:
        with torch.autocast(accelerator.device.type, torch.bfloat16):
            return way()

    def repeated(way: Callable[[], np.ndarray]) -> np.ndarray:
        return [way() for _ in range(args.folds)][-1]

    ways: dict[str, Callable[[], np.ndarray]] = {"ours": ours}
    ways |= {f"pipeline, batch {size}": lambda size=size: piped(size) for size in args.batch_sizes}
    ways["onnxruntime, our batches"] = onnxruntime
    ways["ours, int8"] = lambda: ours(1, int8)
    if args.folds > 1:
        ways[f"ours, {args.folds} folds"] = lambda: ours(args.folds)
        best = args.batch_sizes[0]
        ways[f"pipeline, batch {best}, {args.folds} times"] = lambda: repeated(lambda: piped(best))
    if args.bf16:
        ways |= {f"{name}, bf16": lambda way=way: in_bf16(way) for name, way in list(ways.items())}
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    results = {}
    for number in range(args.rounds + 1):
        for name, way in ways.items():
            began = time.perf_counter()
            results[name] = way()
            if number:  # the first round warms up
                speeds[name].append(len(rows) / (time.perf_counter() - began))
    print(
        f"{len(rows)} rows, {args.threads} threads, {args.rounds} rounds\n\n| way | rows/s | ours is faster by "
        "|\n|---|---|---|"
    )
    for name, values in speeds.items():
        ratios = np.array(speeds["ours"]) / values
        error = f" ± {ratios.std(ddof=1) / np.sqrt(len(ratios)):.2f}" if len(ratios) > 1 else ""
        print(f"| {name} | {np.mean(values):.1f} | {ratios.mean():.2f}{error} |")
    differences = {
        name: np.abs(results["ours"] - values).max()
        for name, values in results.items()
        if "bf16" not in name and "int8" not in name
    }
    print(f"\nlargest difference of a probability in float32: {max(differences.values()):.1e}")
    print(f"of int8: {np.abs(results['ours'] - results['ours, int8']).max():.1e}")


class OnnxModel(torch.nn.Module):
    """A model in onnxruntime, with any number of rows and tokens."""

    def __init__(self, model: PreTrainedModel, batch: dict[str, torch.Tensor], threads: int):
        super().__init__()
        self.names = [name for name in batch if name != "labels"]
        options = SessionOptions()
        options.intra_op_num_threads = threads
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/model.onnx"
            shapes = {name: {0: "rows", 1: "tokens"} for name in self.names} | {"logits": {0: "rows"}}
            inputs = tuple(batch[name] for name in self.names)
            named = {"input_names": self.names, "output_names": ["logits"], "dynamic_axes": shapes}
            torch.onnx.export(Logits(model, self.names), inputs, path, dynamo=False, **named)
            self.session = InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def forward(self, **inputs: torch.Tensor) -> SimpleNamespace:
        arrays = {name: inputs[name].numpy() for name in self.names}
        return SimpleNamespace(logits=torch.from_numpy(self.session.run(["logits"], arrays)[0]))


class Logits(torch.nn.Module):
    """A model whose inputs have places instead of names."""

    def __init__(self, model: PreTrainedModel, names: list[str]):
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.model(**dict(zip(self.names, inputs, strict=True))).logits


if __name__ == "__main__":
    main()
