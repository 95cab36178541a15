"""The GPU memory of a preset's training step, by part, computed from the model's configuration: nothing is downloaded
but that, and nothing trained.

python -m common.memory --config friends/configs/llm.yaml
python -m common.memory --config friends/configs/llm.yaml --model_name_or_path Qwen/Qwen2.5-7B --max_length 1024
python -m common.memory --table
"""

import dataclasses  # PYTHON_ARGCOMPLETE_OK
import logging
import warnings
from pathlib import Path
from typing import Any

from common.console import ArgumentParser, InputError, first_line, print_once, run_main
from common.guards.terminal import padded, told
from common.options.checks import check_number
from common.options.parser import coerce_to
from common.options.presets import read_preset

CONTEXT = 0.5e9  # the CUDA context
GAPS = 1.05  # what the allocator cannot use
CARDS = {"16 GB (T4)": 15.0 * 2**30, "24 GB": 23.5 * 2**30}  # what such cards have to give
# hub name -> family, vocabulary, hidden and intermediate size, layers, heads, heads of keys and values, tied; as their
# config.json has them, so that the table needs no network
SHAPES = {
    "Qwen/Qwen2.5-1.5B": ("qwen2", 151936, 1536, 8960, 28, 12, 2, True),
    "Qwen/Qwen2.5-3B": ("qwen2", 151936, 2048, 11008, 36, 16, 2, True),
    "Qwen/Qwen2.5-7B": ("qwen2", 152064, 3584, 18944, 28, 28, 4, False),
    "google/gemma-2-9b": ("gemma2", 256000, 3584, 14336, 42, 16, 8, True),
}
OF_SHAPE = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
OF_SHAPE += ("num_key_value_heads", "tie_word_embeddings")
# (quantization, gradient_checkpointing) of the table's columns, under LoRA of rank 16 and bfloat16
WAYS = {"4 bit": ("4bit", False), "4 bit, checkpointing": ("4bit", True), "bfloat16, checkpointing": ("none", True)}
LENGTHS = (256, 1024)


def main() -> None:
    parser = ArgumentParser("python -m common.memory", __doc__)
    parser.add_argument("--config", type=Path, help="YAML preset of a train.py, or a run's config.yaml")
    parser.add_argument("--model_name_or_path", help="in place of the preset's")
    parser.add_argument("--max_length", help="tokens of a row, in place of the preset's")
    parser.add_argument("--per_device_train_batch_size", type=int, help="in place of the preset's")
    parser.add_argument("--num_labels", type=int, default=8, help="outputs of the head (default: 8)")
    parser.add_argument("--table", action="store_true", help="1.5 to 9 B at two lengths, as in docs/decoders.md")
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("transformers").setLevel(logging.ERROR)
    if args.table:
        print_once(table())
        return
    if args.config is None:
        raise InputError("config: name a preset, or give --table")
    given = ("model_name_or_path", "max_length", "per_device_train_batch_size")
    preset = read_preset(args.config) | {key: getattr(args, key) for key in given if getattr(args, key) is not None}
    print_once(describe(preset, args.num_labels, args.config))


def describe(preset: dict[str, Any], num_labels: int, source: Path) -> str:
    """A line per part, in GB of 1e9 bytes, and whether it fits. Raises InputError for what cannot be counted."""
    from common.memory.parts import memory_of

    check_number("num_labels", num_labels, 1)
    step = step_of(preset, num_labels, source)
    config = config_of(str(preset.get("model_name_or_path", "scratch")), source)
    try:
        parts = memory_of(config, step)
    except (AttributeError, ValueError, TypeError, KeyError) as error:
        kind = f"a {config.model_type} cannot be counted, a decoder or encoder of texts was expected"
        raise InputError(f"model_name_or_path: {kind} ({first_line(error)})") from error
    lines = [f"{padded(told(name), 12)} {size / 1e9:7.2f} GB" for name, size in parts.items()]
    needed = need(parts["total"])
    fits = [f"{card}: {told('fits' if needed <= size else 'does not fit')}" for card, size in CARDS.items()]
    what = f"{step.batch_size} rows of {step.max_length} tokens, computed"
    return "\n".join([what, *lines, f"with context and gaps {needed / 1e9:.2f} GB; {', '.join(fits)}"])


def need(total: int) -> float:
    """Bytes of a card that a step of so many takes."""
    return total * GAPS + CONTEXT


def config_of(name: str, source: Path) -> Any:
    """The configuration of a model: of SHAPES, a folder or the hub. Raises InputError."""
    from transformers import AutoConfig

    from common.guards.foreign_code import refuse_code
    from common.models import BROKEN_FILES, unavailable

    if name == "scratch":
        raise InputError(f"{source}: names no model (scratch needs next to nothing); give --model_name_or_path")
    if name in SHAPES:
        family, *shape = SHAPES[name]
        return AutoConfig.for_model(family, **dict(zip(OF_SHAPE, shape, strict=True)))
    try:
        refuse_code(name, False)
        return AutoConfig.from_pretrained(name)
    except BROKEN_FILES as error:
        raise unavailable(name, error) from error


def step_of(preset: dict[str, Any], num_labels: int, source: Path) -> Any:
    """The Step that a preset describes. Raises InputError for a value of another type, or max_length auto."""
    from transformers import TrainingArguments

    from common.memory.parts import Step
    from common.options import TextTaskArguments

    values: dict[str, Any] = {}
    fields = [item.name for item in dataclasses.fields(Step)]
    for kind in (TextTaskArguments, TrainingArguments):
        own = {item.name for item in dataclasses.fields(kind)}
        for key, value in preset.items():
            if key in own and (key in fields or key in ("bf16", "fp16", "per_device_train_batch_size")):
                values[key] = coerce_to(kind, key, value, f"{source}, key {key}")
    length = str(values.pop("max_length", "64"))
    if not length.isdecimal() or not int(length):
        raise InputError(f"max_length: {length!r} is not a number above 0, which is needed here; give --max_length")
    batch = values.pop("per_device_train_batch_size", 8)
    if batch < 1:
        raise InputError(f"per_device_train_batch_size: {batch} is not 1 or more")
    half = bool(values.pop("bf16", False)) | bool(values.pop("fp16", False))
    if "optim" in values:
        values["optim"] = str(getattr(values["optim"], "value", values["optim"]))
    return Step(batch, int(length), num_labels, half=half, **values)


def largest_batch(one: int, two: int, size: float) -> int:
    """The most rows that fit, of the bytes of one and of two; 0: not even one."""
    room = (size - CONTEXT) / GAPS - one
    return 1 + int(room / (two - one)) if room >= 0 else 0


def table() -> str:
    """Markdown: for each model and length the parts of one row in GB, and the largest batch on each card."""
    from common.memory.parts import Step, memory_of

    shown = ("weights", "adapters", "gradients", "moments", "activations", "temporary", "total")
    head = ["model", "tokens", "how", *shown, *(f"rows on {card}" for card in CARDS)]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for name in SHAPES:
        config = config_of(name, Path("SHAPES"))
        for length in LENGTHS:
            for way, (quantization, checkpointing) in WAYS.items():
                step = Step(
                    1, length, 8, 16, model_dtype="bfloat16", quantization=quantization, half=True,
                    gradient_checkpointing=checkpointing,
                )  # fmt: skip
                parts = memory_of(config, step)
                two = memory_of(config, dataclasses.replace(step, batch_size=2))["total"]
                rows = [f"{largest_batch(parts['total'], two, size) or 'none'}" for size in CARDS.values()]
                cells = [name, f"{length:,}", way, *(f"{parts[part] / 1e9:.2f}" for part in shown), *rows]
                lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    run_main(main)
