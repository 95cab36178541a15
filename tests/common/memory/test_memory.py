"""What is computed of a training step's memory against what the process takes, for small models on the CPU."""

import ctypes
import gc
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig

from common.console import InputError
from common.memory.__main__ import config_of, describe, step_of
from common.memory.parts import ROUNDED, Step, build, memory_of
from tests.tools.scripts import ENVIRONMENT, ROOT

MARGIN = 0.2  # of the computed total
SHAPE = {
    "vocab_size": 4000,
    "hidden_size": 512,
    "intermediate_size": 1536,
    "num_hidden_layers": 3,
    "num_attention_heads": 8,
}
SHAPE |= {"num_key_value_heads": 4, "pad_token_id": 0}
CONFIG = AutoConfig.for_model("llama", **SHAPE)
WAYS = {
    "whole": Step(8, 128),
    "lora": Step(8, 128, lora_r=16),
    "lora-checkpointing": Step(8, 128, lora_r=16, gradient_checkpointing=True),
}

TINY = Step(1, 2, lora_r=16, gradient_checkpointing=True)


def resident() -> int:
    """Bytes of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def measure(step: Step) -> int:
    """The most bytes that two steps of AdamW take, beyond what the process had before the model."""
    libc = ctypes.CDLL("libc.so.6")
    libc.mallopt(-3, 65536)  # M_MMAP_THRESHOLD: what is freed goes back at once
    if step != TINY:
        measure(TINY)  # what a first step imports
    gc.collect()
    libc.malloc_trim(0)
    before = peak = resident()
    model = build(CONFIG, step).to_empty(device="cpu")
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.fill_(0.01)
    if step.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-5, fused=True)
    ids = torch.full((step.batch_size, step.max_length), 5)
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.002):
            peak = max(peak, resident())

    thread = threading.Thread(target=watch)
    thread.start()
    for _ in range(2):
        model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=ids[:, 0] % 2).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    done.set()
    thread.join()
    return peak - before


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
@pytest.mark.parametrize("way", [*(pytest.param(way, marks=pytest.mark.slow) for way in list(WAYS)[1:]), "whole"])
def test_the_computed_total_is_what_the_process_takes_at_its_peak(way):
    computed = memory_of(CONFIG, WAYS[way])["total"]
    # in a process of its own, because another has freed memory that it would take again
    code = f"from tests.common.memory.test_memory import WAYS, measure; print(measure(WAYS[{way!r}]))"
    result = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, cwd=ROOT, capture_output=True, text=True)
    measured = int(result.stdout.splitlines()[-1])
    assert abs(measured - computed) < MARGIN * computed, (measured / 1e6, computed / 1e6)


def test_parts_add_up_and_are_what_they_are_called():
    whole, lora = (memory_of(CONFIG, Step(1, 16, lora_r=r)) for r in (0, 16))
    parameters = sum(p.numel() for p in build(CONFIG, Step(1, 16)).parameters())
    assert whole["weights"] == whole["gradients"] == 4 * parameters and whole["moments"] == 8 * parameters
    trained = sum(p.numel() for p in build(CONFIG, Step(1, 16, lora_r=16)).parameters() if p.requires_grad)
    assert lora["adapters"] == lora["gradients"] == lora["moments"] / 2 == 4 * trained
    four = memory_of(CONFIG, Step(1, 16, lora_r=16, model_dtype="bfloat16", quantization="4bit"))
    inside = sum(p.numel() for name, p in build(CONFIG, Step(1, 16)).named_parameters() if "_proj" in name)
    rest = parameters - inside + 2 * SHAPE["hidden_size"]  # with the head that peft keeps beside the trained one
    assert four["weights"] == pytest.approx(ROUNDED["4bit"] * inside + 2 * (rest - 2 * SHAPE["hidden_size"]), rel=0.01)


def test_a_preset_is_described_by_its_options():
    source = ROOT / "friends/configs/llm.yaml"
    step = step_of(
        {"max_length": 256, "lora_r": "8", "bf16": True, "quantization": "4bit", "learning_rate": 1}, 8, source
    )
    assert step == Step(8, 256, 8, 8, quantization="4bit", half=True)
    text = describe(
        {"model_name_or_path": "Qwen/Qwen2.5-1.5B", "max_length": 64, "lora_r": 8, "per_device_train_batch_size": 1},
        8,
        source,
    )
    assert text.startswith("1 rows of 64 tokens") and "16 GB (T4): fits" in text


def test_the_shapes_have_as_many_weights_as_their_names_say():
    for name, billions in {"Qwen/Qwen2.5-1.5B": 1.54, "Qwen/Qwen2.5-7B": 7.07, "google/gemma-2-9b": 9.24}.items():
        found = sum(p.numel() for p in build(config_of(name, Path("x")), Step(1, 8)).parameters()) / 1e9
        assert found == pytest.approx(billions, rel=0.01), name


CANNOT = {
    "layer": ({"lora_r": 8, "lora_target_modules": ["query"]}, CONFIG, 2, "no linear layer is called 'query'"),
    "labels": ({}, CONFIG, 0, "num_labels"),
    "images": ({}, AutoConfig.for_model("vit"), 2, "a vit cannot be counted"),
    "experts": ({"lora_r": 8}, AutoConfig.for_model("mixtral", **SHAPE), 2, "a mixtral cannot be counted"),
}


@pytest.mark.parametrize("preset, config, num_labels, part", CANNOT.values(), ids=CANNOT)
def test_what_cannot_be_counted_is_one_sentence(tmp_path, preset, config, num_labels, part):
    config.save_pretrained(tmp_path)
    with pytest.raises(InputError, match=part):
        describe({"model_name_or_path": str(tmp_path), "max_length": 16, **preset}, num_labels, Path("x.yaml"))
