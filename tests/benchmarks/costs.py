"""Minutes, memory and disk of each preset of a size that wants a GPU, computed for a T4 and an A100: a Markdown table.

python tests/benchmarks/costs.py

Nothing is trained or downloaded. Minutes: the multiplications of a row's forward pass, counted while the model runs
without memory (torch.utils.flop_counter), three times of them for a training step (four with gradient checkpointing,
one less where the weights are frozen under LoRA), over rows, epochs and folds, at SHARE of what the card can do at most.
Memory: as common.memory counts it; for images and clips in the same way. Disk: the folds, and the checkpoints that
--save_total_limit keeps of the one that is trained. Decoding of images and clips is not counted.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "hand_signal")]

from common.files import read_yaml  # noqa: E402
from common.memory.__main__ import OF_SHAPE, SHAPES, need  # noqa: E402
from common.memory.parts import Step, build, memory_of  # noqa: E402

from model import load_video_model  # noqa: E402

CARDS = {
    "T4": 65e12,
    "A100": 312e12,
}  # multiply-adds count twice; dense fp16 and bf16, as NVIDIA's data sheets have them
SHARE = {"text": 0.3, "image": 0.05, "clip": 0.15}  # assumed; depthwise and 3D convolutions use less of a card
GB = 1e9
# family, vocabulary, hidden and intermediate size, layers, heads: as their config.json have them
ENCODERS = {
    "bert-base-multilingual-uncased": ("bert", 105879, 768, 3072, 12, 12),
    "bert-base-cased": ("bert", 28996, 768, 3072, 12, 12),
    "bert-large-cased": ("bert", 28996, 1024, 4096, 24, 16),
    "xlm-roberta-base": ("xlm-roberta", 250002, 768, 3072, 12, 12),
    "xlm-roberta-large": ("xlm-roberta", 250002, 1024, 4096, 24, 16),
    "klue/roberta-large": ("roberta", 32000, 1024, 4096, 24, 16),
    "beomi/KcELECTRA-base-v2022": ("electra", 54343, 768, 3072, 12, 12),
}


@dataclass
class Task:
    """A competition's training rows, its classes, and the tokens of a mean row (multilingual-e5-small's; friends:
    MiniLM's, with the line before)."""

    kind: str
    rows: int
    num_labels: int
    tokens: int = 0


TASKS = {
    "nsmc": Task("text", 150_000, 2, 24),
    "friends": Task("text", 10_561, 8, 29),
    "klue_re": Task("text", 9_000, 42, 68),
    "reon_face": Task("image", 28_709, 7),
    "hand_signal": Task("clip", 142, 6),
}
PRESETS = {
    "nsmc": ["tune", "final", "best", "llm"],
    "friends": ["tune", "final", "llm"],
    "klue_re": ["tune", "final", "best", "llm"],
    "reon_face": ["tune", "wished", "final"],
    "hand_signal": ["tune", "final"],
}


def text_model(preset: dict[str, Any], task: Task) -> tuple[float, dict[str, int], float]:
    """FLOPs of a row's forward pass, the bytes of a step by part, and of a saved fold."""
    name = preset["model_name_or_path"]
    family, *shape = SHAPES.get(name) or ENCODERS[name]
    keys = {"embedding_size": shape[1]} if family == "electra" else {}
    config = AutoConfig.for_model(family, **dict(zip(OF_SHAPE, shape, strict=False)), **keys)
    step = Step(
        preset["per_device_train_batch_size"],
        preset["max_length"],
        task.num_labels,
        half=True,
        **{
            key: preset[key]
            for key in ("lora_r", "model_dtype", "quantization", "gradient_checkpointing")
            if key in preset
        },
    )
    model = build(config, step)
    ids = torch.ones(1, min(task.tokens, step.max_length), dtype=torch.long, device="meta")
    parts = memory_of(config, step)
    return flops(model, input_ids=ids), parts, parts["adapters"] if step.lora_r else parts["weights"]


def pixel_model(preset: dict[str, Any], task: Task) -> tuple[float, dict[str, int], float]:
    """As text_model, of a timm model or of a network for clips."""
    name = preset["model_name_or_path"]
    with torch.device("meta"):
        if task.kind == "image":
            model = timm.create_model(name, num_classes=task.num_labels)
            shape = (3, preset["image_size"], preset["image_size"])
        else:
            model = load_video_model(name, [str(label) for label in range(task.num_labels)])
            size = preset["crop_size"]
            shape = (3, preset.get("num_frames", model.config.num_frames), size, size)
    weights = 4 * sum(p.numel() for p in model.parameters())
    batch = preset["per_device_train_batch_size"]
    held = 4 * weights  # and their gradients and two moments
    total = held + batch * activations(model.train(), torch.ones(2, *shape, device="meta"))
    return flops(model.eval(), torch.ones(1, *shape, device="meta")), {"total": round(total)}, weights


def flops(model: nn.Module, *values: torch.Tensor, **named: torch.Tensor) -> float:
    with FlopCounterMode(display=False) as counter:
        model(*values, **named)
    return counter.get_total_flops()


def activations(model: nn.Module, values: torch.Tensor) -> float:
    """Bytes that autograd keeps of one row in mixed precision, of a batch of so many values."""
    kept = {}
    own = {id(parameter) for parameter in model.parameters()}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) not in own:
            kept[id(tensor)] = tensor  # held, so that no other gets its id
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(values)
    return sum(2 * tensor.numel() for tensor in kept.values()) / len(values)


def line(task_name: str, preset_name: str) -> list[str]:
    task = TASKS[task_name]
    preset = read_yaml(ROOT / task_name / "configs" / f"{preset_name}.yaml")
    forward, parts, saved = (text_model if task.kind == "text" else pixel_model)(preset, task)
    folds = preset.get("num_folds", 1)
    seen = task.rows * preset["num_train_epochs"] * max(1, folds - 1)
    passes = 3 - ("lora_r" in preset) + bool(preset.get("gradient_checkpointing"))
    minutes = [passes * forward * seen / (peak * SHARE[task.kind]) / 60 for peak in CARDS.values()]
    moments = parts.get("moments", 2 * saved)
    disk = folds * saved + 2 * (saved + moments)  # a checkpoint is written before the last one goes
    return [
        f"{task_name}, `{preset_name}`",
        preset["model_name_or_path"],
        str(folds),
        f"{forward / 1e9:,.1f}",
        *(f"{value:,.0f}" if value >= 1 else "below 1" for value in minutes),
        f"{need(parts['total']) / GB:.1f}",
        f"{disk / GB:.1f}",
    ]


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    cards = [f"minutes, {card}" for card in CARDS]
    heads = ["preset", "model", "folds", "GFLOP a row", *cards, "GB of the card", "GB of disk"]
    print("| " + " | ".join(heads) + " |\n" + "|" + "---|" * len(heads))
    for task_name, names in PRESETS.items():
        for name in names:
            print("| " + " | ".join(line(task_name, name)) + " |", flush=True)


if __name__ == "__main__":
    main()
