"""What `accelerate launch --use_fsdp --fsdp_version 2` asks for, and which options cannot go with it. Imports no
torch."""

import dataclasses
import os
from typing import Any

from common.console import InputError, print_once
from common.guards.launcher import is_on
from common.guards.options import TEXTS
from common.guards.processes import are_several

LAUNCH = "accelerate launch --use_fsdp"
READ = ("use_fsdp", "fsdp_version", "fsdp_reshard_after_forward")  # of the launcher's options
RESHARD = {"true": True, "false": False}
# What accelerate's FSDP can and is not done here: variable -> option, why
NOT_DONE = {
    "FSDP_OFFLOAD_PARAMS": ("fsdp_offload_params", "weights stay on the cards"),
    "FSDP_ACTIVATION_CHECKPOINTING": (
        "fsdp_activation_checkpointing",
        "its second pass draws another dropout; give train.py --gradient_checkpointing",
    ),
    "FSDP_IGNORED_MODULES": ("fsdp_ignored_modules", "all weights are shared out"),
}
PARTS = "reads or moves whole weights between the passes, of which each process has a part"
WHOLE = "loads the whole model on each card"
# Option of a task -> why it cannot go with FSDP
ALONE = {
    "ema_decay": PARTS,
    "fgm_epsilon": PARTS,
    "awp_epsilon": PARTS,
    "feature_oversample_ratio": PARTS,
    "auto_batch_size": WHOLE,
    "average_adapters": WHOLE,
    "quantization": "rounded weights are not shared out here",
}
ALONE_OF_TRAINER = {
    "torch_compile": "compiled models are not shared out here",
    "fp16": "its loss scale is not shared; use bf16",
}
# Whose states are shared out as the weights are; torch 2.14 cannot resume sgd, which has none
OPTIMIZERS = ("adamw_torch", "adamw_torch_fused")


def launched() -> dict[str, Any]:
    """The TrainingArguments that mean what the launcher's variables ask for. Raises InputError for what is not done."""
    if os.environ.get("FSDP_VERSION", "1") != "2":
        raise InputError(f"{LAUNCH}: version 1 is not supported; give --fsdp_version 2, too")
    if not are_several():
        raise InputError(f"{LAUNCH}: one process has nobody to share with; give --num_processes 2 or more, or none")
    for variable, (option, why) in NOT_DONE.items():
        if is_on(variable) or variable == "FSDP_IGNORED_MODULES" and os.environ.get(variable):
            raise InputError(f"accelerate launch --{option}: is not supported, {why}")
    reshard = os.environ.get("FSDP_RESHARD_AFTER_FORWARD", "true").lower()
    if reshard not in RESHARD:
        raise InputError(f"accelerate launch --fsdp_reshard_after_forward: {reshard} is not one of true, false")
    # on GPUs Accelerate then opens gloo beside NCCL, so that whole weights can be sent from a CPU
    os.environ["FSDP_STATE_DICT_TYPE"] = "FULL_STATE_DICT"
    return {"fsdp": True, "fsdp_config": {"version": 2, "reshard_after_forward": RESHARD[reshard]}}


def say_unread(names: list[str]) -> list[str]:
    """Say which of the launcher's options for FSDP nothing reads; the names that are of something else."""
    own = [name for name in names if "fsdp" in name]
    if unread := ", ".join(f"--{name}" for name in own if name not in READ):
        print_once(f"accelerate launch: {unread}: not read, each block is shared out, and folds are saved whole")
    return [name for name in names if name not in own]


def check_sharded(args: Any, training_args: Any) -> None:
    """Raise InputError for an option of a train.py that cannot go with FSDP; turn off what would cut the vocabulary."""
    if args.LOOP != TEXTS:
        raise InputError(f"{LAUNCH}: is for models of texts; use accelerate launch --multi_gpu here")
    defaults = {item.name: item.default for item in dataclasses.fields(args)}
    found = {name: why for name, why in ALONE.items() if getattr(args, name) != defaults[name]}
    found |= {name: why for name, why in ALONE_OF_TRAINER.items() if getattr(training_args, name)}
    if found:
        name, why = next(iter(found.items()))
        raise InputError(f"{name}: does not go with {LAUNCH}, {why}")
    if training_args.optim.value not in OPTIMIZERS:
        known = ", ".join(OPTIMIZERS)
        raise InputError(f"optim: {training_args.optim.value} does not go with {LAUNCH}, expected one of {known}")
    if args.cuts_vocabulary:
        args.full_vocabulary = True
        print_once("fsdp: the word vectors of tokens that no row has are trained, too (full_vocabulary True)")
