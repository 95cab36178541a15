"""What one, two or three processes learn and measure, for tests that compare them.

python -m tests.tools.learn texts OUT        # under torchrun, with several
python -m tests.tools.learn sharded OUT      # with FSDP2 where they are several
"""

import json
import os
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from transformers import TrainingArguments

from common.folds import Fold
from tests.tools.scripts import ROOT

EFFECTIVE = 12  # rows of an optimizer step, over all processes
LOCAL = ("runtime", "per_second")  # what the time of a process is in
TEXTS = {  # name -> rows, options of the task, of the Trainer
    "plain": (29, {}, {}),
    "fewer_rows_than_processes": (26, {"ema_decay": 0.9}, {}),
    "one_row_is_evaluated": (13, {}, {}),
    "losses": (31, {"class_weight_strength": 1.0, "focal_gamma": 2.0}, {"label_smoothing_factor": 0.1}),
    "rdrop": (27, {"rdrop_alpha": 1.0}, {"accumulation": 2}),
    "budget": (29, {"tokens_per_batch": 40}, {"accumulation": 6}),
    "attack": (29, {"awp_epsilon": 0.1, "lora_r": 4, "lora_dropout": 0.0}, {}),
}
# With all word vectors, as FSDP2 trains them.
SHARDED = {
    "plain": (29, {}, {"optim": "adamw_torch", "learning_rate": 1e-2, "adam_epsilon": 1e-2}),
    "fewer_rows_than_processes": (25, {"head_learning_rate": 0.05, "layerwise_lr_decay": 0.8}, {}),
    "rdrop": (27, {"rdrop_alpha": 1.0, "focal_gamma": 2.0}, {"accumulation": 2}),
    "budget": (29, {"tokens_per_batch": 40, "freeze_word_embeddings": True}, {"accumulation": 6}),
    "checkpointing": (24, {}, {"gradient_checkpointing": True}),
    "adapters": (29, {"lora_r": 4, "lora_dropout": 0.0}, {}),
    "bf16": (24, {"lora_r": 4, "lora_dropout": 0.0}, {"bf16": True}),
    "dora": (24, {"lora_r": 4, "lora_dropout": 0.0, "use_dora": True}, {"gradient_checkpointing": True}),
}
IMAGES = {"batch_norm": ("scratch", 29, {"class_weight_strength": 1.0}), "vit": ("test_vit", 31, {"focal_gamma": 1.0})}
CLIPS = {
    "batch_norm": ("scratch", 4, 17, 1),
    "frames": ("timm/test_vit", 1, 13, 2),
}  # model, frames, clips, accumulation


def results_of(model: torch.nn.Module, log_history: list[dict]) -> dict[str, Any]:
    """A fold's weights, and what it logged but for times."""
    logged = [{k: v for k, v in entry.items() if not k.endswith(LOCAL)} for entry in log_history]
    weights = {name: tensor.double().tolist() for name, tensor in model.state_dict().items()}
    return {"weights": weights, "logged": logged}


def farthest(one: dict[str, Any], several: dict[str, Any]) -> float:
    """The largest difference of two results_of(), of whatever kind."""
    assert one["weights"].keys() == several["weights"].keys()
    assert [entry.keys() for entry in one["logged"]] == [entry.keys() for entry in several["logged"]]
    pairs = [(one["weights"][name], several["weights"][name]) for name in one["weights"]]
    pairs += [(a[k], b[k]) for a, b in zip(one["logged"], several["logged"], strict=True) for k in a]
    return max(float(np.abs(np.array(a) - np.array(b)).max(initial=0)) for a, b in pairs)


def arguments(folder: Path, world_size: int, accumulation: int = 1, **training: Any) -> TrainingArguments:
    """Those of an epoch; the per-device batch is what is left of EFFECTIVE."""
    batch = EFFECTIVE // world_size // accumulation
    defaults = {
        "per_device_train_batch_size": batch, "gradient_accumulation_steps": accumulation, "num_train_epochs": 1, "use_cpu": True,
        "per_device_eval_batch_size": 4, "report_to": [], "disable_tqdm": True, "remove_unused_columns": False, "save_total_limit": 1,
    }  # fmt: skip
    return TrainingArguments(output_dir=str(folder), **{**defaults, **training})


def make_fold(folder: Path, args: Any, training_args: TrainingArguments, rows: Any, eval_rows: Any) -> Fold:
    run = SimpleNamespace(phase=lambda name: nullcontext(), dir=folder, note=print, args=args, done={})
    return Fold(run, 0, folder, args, training_args, np.arange(len(rows)), rows, eval_rows, {})


def learn_sharded(folder: Path, world_size: int) -> dict[str, Any]:
    cases = {
        name: (rows, {"full_vocabulary": True, **options}, training)
        for name, (rows, options, training) in SHARDED.items()
    }
    return learn_texts(folder, world_size, cases, fsdp=world_size > 1)


def learn_texts(folder: Path, world_size: int, cases: dict = TEXTS, fsdp: bool = False) -> dict[str, Any]:
    import tests.common.test_training as t
    from common.inference import predict_logits
    from common.options import TextTaskArguments
    from common.text_trainer import TextTrainer
    from common.training import train_fold

    results = {}
    for name, (count, options, training) in cases.items():
        accumulation = training.get("accumulation", 1) if world_size > 1 or "tokens_per_batch" in options else 1
        if "tokens_per_batch" in options:  # its effective batch is a number of micro-batches
            accumulation //= world_size
        logging = {"logging_strategy": "steps", "logging_steps": 2}  # the last step of five is in train_loss only
        shared = {
            **t.SGD,
            "num_train_epochs": 2,
            "save_strategy": "no",
            "eval_strategy": "epoch",
            **logging,
            **({"fsdp": True, "fsdp_config": {"version": 2}} if fsdp else {}),
            **training,
        }
        shared.pop("accumulation", None)
        training_args = arguments(folder, world_size, accumulation, **shared)
        rows = t.make_rows(count)
        eval_rows = rows.select(range(1)) if name == "one_row_is_evaluated" else rows
        fold = make_fold(folder / name, TextTaskArguments(**options), training_args, rows, eval_rows)
        trainer, info = train_fold(fold, lambda: t.make_bert(dropout=False), t.collate, TextTrainer)
        predicted = predict_logits(trainer.model, rows, t.collate, trainer.accelerator, t.LABELS, 40)
        assert predicted.ids.tolist() == rows["id"]
        trainer.gather()
        if trainer.accelerator.is_main_process:
            results[name] = results_of(trainer.accelerator.unwrap_model(trainer.model), info["log_history"])
            results[name]["weights"]["logits"] = predicted.logits.tolist()
    return results


def learn_images(folder: Path, world_size: int) -> dict[str, Any]:
    """With reon_face/ on sys.path. folder/images: of write_images()."""
    from common.training import train_fold

    from data import TaskArguments, read_examples
    from face_trainer import FaceTrainer
    from images import FaceCollator, to_dataset
    from model import load_image_model

    faces = read_examples(folder / "images", {"label_names": None, "subject_pattern": None})
    off = {"min_crop_scale": 1.0, "horizontal_flip": 0.0, "color_jitter": 0.0}
    shared = {"optim": "sgd", "learning_rate": 0.01, "save_strategy": "no", "eval_strategy": "epoch"}
    results = {}
    for name, (architecture, count, options) in IMAGES.items():
        rows = to_dataset(faces).select(range(count))
        args = TaskArguments(**off, **options)

        def make_model(architecture=architecture):
            return load_image_model(architecture, faces.label_names, {}, start="scratch", image_size=32)

        fold = make_fold(folder / name, args, arguments(folder, world_size, **shared), rows, rows)
        trainer, info = train_fold(fold, make_model, FaceCollator(make_model().config), FaceTrainer)
        results[name] = results_of(trainer.model, info["log_history"])
    return results


def learn_clips(folder: Path, world_size: int) -> dict[str, Any]:
    """With hand_signal/ on sys.path. folder/clips: of write_competition()."""
    from train import train_fold

    from clips import Augmentation, ClipDataset, Preprocessing
    from data import TaskArguments, read_examples
    from model import load_video_model

    clips = read_examples(folder / "clips", {"label_names": None, "group_by_number": 1})
    results = {}
    for name, (architecture, frames, count, accumulation) in CLIPS.items():
        size = 160 if architecture.startswith("timm") else 48
        preprocessing = Preprocessing(frames, 0, size, [0.45] * 3, [0.225] * 3, True, "none", 1, 1)
        # Adam divides by the size of a gradient: with this epsilon it hardly does
        training_args = arguments(folder, world_size, accumulation, adam_epsilon=1.0, learning_rate=0.1)
        args = TaskArguments(model_name_or_path=architecture, num_frames=frames, crop_size=size, dropout=0.0)
        rows = clips[:count]
        train_set = ClipDataset(rows, preprocessing, None, Augmentation(0.8, 0.2, None), seed=42)
        fold = make_fold(folder / f"{name}-{world_size}", args, training_args, rows, rows)

        def make_model(architecture=architecture, frames=frames):
            return load_video_model(architecture, clips.label_names, num_frames=frames, dropout=0.0)

        _, model, info = train_fold(fold, make_model, train_set, ClipDataset(rows, preprocessing), clips.label_names)
        results[name] = results_of(model, info["log_history"])
    return results


LEARN: dict[str, Callable] = {
    "texts": learn_texts,
    "sharded": learn_sharded,
    "images": learn_images,
    "clips": learn_clips,
}
FOLDERS = {"images": "reon_face", "clips": "hand_signal"}


def main(what: str, folder: str) -> None:
    torch.set_num_threads(1)
    if what in FOLDERS:
        sys.path.insert(0, str(ROOT / FOLDERS[what]))
    world_size = int(os.environ["WORLD_SIZE"])
    results = LEARN[what](Path(folder), world_size)
    if os.environ["RANK"] == "0":
        (Path(folder) / f"{world_size}.json").write_text(json.dumps(results))


if __name__ == "__main__":
    from common.console import run_main

    run_main(lambda: main(*sys.argv[1:]))
