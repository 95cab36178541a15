"""bfloat16 on devices without instructions for it, which emulate it many times slower than float32.

Presets for small models have `bf16: true`; a laptop's CPU, and many in the cloud, would take days for their minutes.
"""

from pathlib import Path
from typing import Any

from common.console import print_once

CPU_INFO = Path("/proc/cpuinfo")
CPU_BF16 = {"avx512_bf16", "amx_bf16", "bf16"}  # there, of x86 and of ARM
INSTEAD = "bf16: this CPU has no instructions for it and would emulate it, many times slower: float32 instead"
SLOW = "bf16: this GPU emulates it: --bf16 false --fp16 is faster"


def has_bf16(device: str) -> bool | None:
    """Whether a device computes in bfloat16 itself; None where nothing tells.

    device: its kind, as torch calls it; of CPUs Linux tells.
    """
    if device == "cuda":
        import torch

        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device != "cpu" or not CPU_INFO.exists():
        return None
    return not CPU_BF16.isdisjoint(CPU_INFO.read_text(encoding="utf-8", errors="replace").split())


def emulates_bf16(use_cpu: bool) -> bool:
    """Whether bf16 is to become float32 on the device of this process: on a CPU without it, which is said. On a GPU
    without it only that is said: there fp16, which scales the loss, is for the user to choose."""
    import torch

    device = "cpu" if use_cpu else torch.accelerator.current_accelerator().type
    if has_bf16(device) is not False:
        return False
    print_once(INSTEAD if device == "cpu" else SLOW)
    return device == "cpu"


def train_in_native_precision(training_args: Any) -> None:
    """Take bf16 from the TrainingArguments where a CPU would emulate it."""
    if training_args.bf16 and emulates_bf16(training_args.use_cpu):
        training_args.bf16 = False
        training_args.mixed_precision = "no"
