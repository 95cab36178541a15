"""bfloat16 on devices without instructions for it, which emulate it many times slower than float32.

Presets for small models have `bf16: true`; a laptop's CPU, and many in the cloud, would take days for their minutes.
"""

from pathlib import Path
from typing import Any

from common.console import print_once

CPU_INFO = Path("/proc/cpuinfo")
# there, of x86 and of ARM
INSTRUCTIONS = {
    "bfloat16": {"avx512_bf16", "amx_bf16", "bf16"},
    "float16": {"avx512_fp16", "amx_fp16", "asimdhp"},
}
INSTEAD = "bf16: this CPU has no instructions for it and would emulate it, many times slower: float32 instead"
SLOW = "bf16: this GPU emulates it: --bf16 false --fp16 is faster"


def has_bf16(device: str) -> bool | None:
    """Whether a device computes in bfloat16 itself; None where nothing tells.

    device: its kind, as torch calls it; of CPUs Linux tells.
    """
    if device == "cuda":
        import torch

        return torch.cuda.is_bf16_supported(including_emulation=False)
    return cpu_has("bfloat16") if device == "cpu" else None


def cpu_has(dtype: str) -> bool | None:
    """Whether the CPU has instructions for a type of INSTRUCTIONS; None where nothing tells."""
    if not CPU_INFO.exists():
        return None
    return not INSTRUCTIONS[dtype].isdisjoint(CPU_INFO.read_text(encoding="utf-8", errors="replace").split())


def emulates_bf16(use_cpu: bool) -> bool:
    """Whether bf16 is to become float32 on the device of this process: on a CPU without it, which is said. On a GPU
    without it only that is said: there fp16, which scales the loss, is for the user to choose."""
    import torch

    device = "cpu" if use_cpu else torch.accelerator.current_accelerator().type
    if has_bf16(device) is not False:
        return False
    print_once(INSTEAD if device == "cpu" else SLOW)
    return device == "cpu"


def say_slow_weights(model_dtype: str, use_cpu: bool) -> None:
    """A line where a CPU would emulate the type of the weights. They keep it: it may be all that fits."""
    if use_cpu and model_dtype in INSTRUCTIONS and cpu_has(model_dtype) is False:
        print_once(
            f"model_dtype: this CPU has no instructions for {model_dtype}; float32 is many times faster in twice the "
            "memory"
        )


def train_in_native_precision(training_args: Any) -> None:
    """Take bf16 from the TrainingArguments where a CPU would emulate it."""
    if training_args.bf16 and emulates_bf16(training_args.use_cpu):
        training_args.bf16 = False
        training_args.mixed_precision = "no"
