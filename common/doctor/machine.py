"""What this machine has: a GPU and what it can do, cores, memory, decoders of video, fonts for plots."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil
import torch
from transformers.utils import is_flash_attn_2_available

from common.console import InputError, first_line
from common.doctor.findings import GB, Finding
from common.guards.precision import has_bf16
from common.guards.terminal import told
from common.options.decoders import check_bitsandbytes
from common.workers.plan import free_memory

AMPERE = (8, 0)  # the compute capability from which a GPU has bfloat16, and torch's own flash attention
HANGUL = "긍정"


def find_machine() -> list[Finding]:
    """A line for each part."""
    return [*find_gpus(), *find_precisions(), find_cores(), find_memory(), find_decoders(), find_fonts()]


def device() -> str:
    """The kind of device that a training takes, as torch calls it."""
    return torch.accelerator.current_accelerator().type if torch.accelerator.is_available() else "cpu"


def find_gpus() -> Iterator[Finding]:
    """A line a GPU; else why there is none."""
    if not torch.cuda.is_available():
        yield no_gpu() if device() == "cpu" else Finding("GPU", device())
        return
    for number in range(torch.cuda.device_count()):
        name = torch.cuda.get_device_name(number)
        free, total = torch.cuda.mem_get_info(number)
        capability = torch.cuda.get_device_capability(number)
        value = f"{name}, {free / GB:.1f} of {total / GB:.1f} GB free, compute capability {as_version(capability)}"
        known = torch.cuda.get_arch_list()
        if not is_built_for(capability, known):
            yield Finding("GPU", value, f"install another torch, this one is built for {', '.join(known)}", True)
        else:
            yield Finding("GPU", value)


def no_gpu() -> Finding:
    """Why torch sees none, where a driver is installed."""
    version = torch.__version__
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return Finding("GPU", "none is to be seen", "unset CUDA_VISIBLE_DEVICES where there is one")
    if not (shutil.which("nvidia-smi") or Path("/proc/driver/nvidia/version").exists()):
        return Finding("GPU", "none: training runs on the CPU")
    if torch.version.cuda is None:
        how = "install torch's build for CUDA (pytorch.org, Get started)"
        return Finding("GPU", f"an NVIDIA driver is there, but torch {version} is a build for CPUs", how)
    how = f"update the driver, or install a torch for an older CUDA than {torch.version.cuda}"
    return Finding("GPU", f"an NVIDIA driver is there, but torch {version} finds no GPU", how)


def is_built_for(capability: tuple[int, int], known: list[str]) -> bool:
    """Whether torch has code for a GPU: of its major version and no later minor one, or to be compiled (compute_).

    known: as of torch.cuda.get_arch_list(): sm_75, compute_90, ...; empty (ROCm): not told.
    """
    if not any(name.startswith(("sm_", "compute_")) for name in known):
        return True
    built = [(name.partition("_")[0], int("".join(filter(str.isdigit, name.partition("_")[2])))) for name in known]
    return any(
        number // 10 == capability[0] and number % 10 <= capability[1]
        if kind == "sm"
        else (number // 10, number % 10) <= capability
        for kind, number in built
    )


def as_version(capability: tuple[int, int]) -> str:
    return ".".join(map(str, capability))


def find_precisions() -> Iterator[Finding]:
    """bfloat16, float16, 4 bit, flash attention."""
    on_gpu = torch.cuda.is_available()
    native = has_bf16(device())
    slow = "use --fp16, which is faster on it" if on_gpu else "training takes float32 where a preset says bf16"
    if native is None:
        yield Finding("bf16", "not known")
    else:
        yield Finding("bf16", "yes" if native else "emulated", "" if native else slow)
    yield Finding("fp16", "yes") if on_gpu else Finding("fp16", "no, it needs a GPU", "on a CPU use --bf16")
    try:
        check_bitsandbytes("4bit", device())
        yield Finding("4 bit", "yes")
    except InputError as error:
        yield Finding("4 bit", "no", told(str(error)).removeprefix("quantization: "))
    if is_flash_attn_2_available():
        yield Finding("flash attn", "yes")
    elif on_gpu and torch.cuda.get_device_capability() >= AMPERE:
        yield Finding("flash attn", "torch's own, by --attn_implementation sdpa")
    else:
        yield Finding("flash attn", "no", "--attn_implementation sdpa or eager works")


def find_cores() -> Finding:
    """Those that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    asked = os.environ.get("OMP_NUM_THREADS")
    few = bool(asked and asked.isdecimal() and int(asked) < cores)
    value = f"{cores}, torch takes {torch.get_num_threads()}"
    return Finding("cores", value, f"OMP_NUM_THREADS is {asked}: unset it, or give --torch_num_threads" if few else "")


def find_memory() -> Finding:
    """Of the machine, or of the container that it is."""
    return Finding("memory", f"{free_memory([]) / GB:.1f} of {psutil.virtual_memory().total / GB:.1f} GB free")


def free_of_device(use_cpu: bool) -> float:
    """Bytes: of the emptiest GPU, else of the machine."""
    if use_cpu or not torch.cuda.is_available():
        return free_memory([])
    return max(float(torch.cuda.mem_get_info(number)[0]) for number in range(torch.cuda.device_count()))


def find_decoders() -> Finding:
    """What reads videos."""
    found = {}
    for name in ("decord", "av"):
        try:
            found[name] = __import__(name).__version__
        except (ImportError, OSError) as error:  # no wheel for this machine, or a library of it is missing
            found[name] = f"cannot be imported ({first_line(error)})"
    value = f"decord {found['decord']}, PyAV {found['av']}"
    if "cannot" not in value:
        return Finding("video", value)
    av_works = "cannot" not in found["av"]
    how = "PyAV reads all files, some of them slower" if av_works else "pip install av, without which no video is read"
    return Finding("video", value, how)


def find_fonts() -> Finding:
    """Whether a plot can have labels in Hangul."""
    from common.report.run_page import tick_labels

    ticks, family = tick_labels([HANGUL])
    if ticks == [HANGUL]:
        return Finding("fonts", f"Hangul in plots: {family[-1]}")
    how = "install one (Debian, Ubuntu, Colab: apt install fonts-nanum) and delete matplotlib's fontlist-*.json"
    return Finding("fonts", "none has Hangul: plots name such labels by numbers", how)
