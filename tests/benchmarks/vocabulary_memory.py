"""Peak memory of a training step with all word vectors, and with those in use: xlm-roberta-large's shape by default.

    python tests/benchmarks/vocabulary_memory.py --rows 8 --length 128 --words 4000

Random weights in float32, one step with clipping and AdamW on rows of random ids, in bf16 (autocast), on the CPU; each
way in a process of its own. Prints what is computed, 16 bytes a trained weight (itself, its gradient, two moments) and 4
for one that waits, and the process's peak resident memory less that before the model was made. On a GPU only the trained
ones are on the card: what waits stays in the CPU's memory. Refuses to start where the machine has too little memory.
"""

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from transformers import XLMRobertaConfig, XLMRobertaForSequenceClassification

from common.tricks.vocabulary import WordsInUse


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shape = {"vocab_size": 250002, "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16}
    shape |= {"intermediate_size": 4096, "rows": 8, "length": 128, "words": 4000, "threads": 1}
    for name, value in shape.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--spare", type=float, default=3.0, help="GB for activations and other processes")
    parser.add_argument("--way", choices=["whole", "in_use"], help=argparse.SUPPRESS)  # in a process of its own
    args = parser.parse_args()
    if args.way:
        print(json.dumps(step(args)))
        return
    found = {}
    for way in ("whole", "in_use"):
        command = [sys.executable, __file__, *sys.argv[1:], "--way", way]
        output = subprocess.run(command, stdout=subprocess.PIPE, check=False)
        if output.returncode:
            raise SystemExit(output.returncode)
        found[way] = json.loads(output.stdout)
        print(f"{way}: {', '.join(f'{key} {value:.2f} GB' for key, value in found[way].items())}", flush=True)
    less = {key: found["whole"][key] - found["in_use"][key] for key in found["whole"]}
    print(f"less: {', '.join(f'{key} {value:.2f} GB' for key, value in less.items())}")


def step(args: argparse.Namespace) -> dict[str, float]:
    """Gigabytes of one step."""
    torch.set_num_threads(args.threads)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    names = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    config = XLMRobertaConfig(**{name: getattr(args, name) for name in names}, num_labels=2, pad_token_id=1)
    words = args.vocab_size * args.hidden_size
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in XLMRobertaForSequenceClassification(config).parameters())
    trained = count if args.way == "whole" else count - words + args.words * args.hidden_size
    waiting = 0 if args.way == "whole" else words
    available = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable"))
    needed = (16 * trained + 4 * waiting) / 1e9 + args.spare
    if int(available.split()[1]) * 1024 < 1e9 * needed:
        raise SystemExit(f"{available}: too little for {needed:.1f} GB")
    model = XLMRobertaForSequenceClassification(config)
    ids = np.arange(args.words)
    if args.way == "in_use":
        model.words_in_use = WordsInUse(model, ids)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    input_ids = torch.randint(4, args.words, (args.rows, args.length))
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(input_ids=input_ids, labels=torch.zeros(args.rows, dtype=torch.long)).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    return {
        "trained, computed": 16 * trained / 1e9,
        "waiting in CPU memory, computed": 4 * waiting / 1e9,
        "peak, measured": peak / 1e9,
    }


if __name__ == "__main__":
    main()
