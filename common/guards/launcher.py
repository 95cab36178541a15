"""What `accelerate launch` and `accelerate config` ask for: obeyed, said in a line, or refused in a sentence.

The launcher hands its answers on in environment variables (accelerate/utils/launch.py of accelerate 1.15), which the
Trainer and an Accelerator read in different ways; some it drops, and then only its own command line has them. Here
they become the defaults of the TrainingArguments that mean the same, so that config.yaml has them, --resume compares
them and all five folders take them alike. Imports neither torch nor transformers.
"""

import os
from collections.abc import Iterable, Mapping
from typing import Any

from common.console import InputError, print_once
from common.guards.precision import emulates_bf16

PRECISIONS = ("no", "bf16", "fp16")
FSDP = "ACCELERATE_USE_FSDP"
SHARDING = {
    "ACCELERATE_USE_DEEPSPEED": "--use_deepspeed",
    "ACCELERATE_USE_MEGATRON_LM": "--use_megatron_lm",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "--use_parallelism_config",
}
# Options of the launcher that belong to what is refused, or to hardware that is not there: alone they do nothing.
IDLE = ("zero", "offload", "deepspeed_", "use_fsdp", "fsdp_", "megatron_", "parallelism_", "fp8_", "tpu_")
IDLE += ("downcast_bf16",)
RANKS = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")


def is_on(name: str) -> bool:
    """Whether an environment variable says yes, in one of the ways that accelerate knows."""
    return os.environ.get(name, "").lower() in ("1", "true", "yes", "y", "t", "on")


def wants_cpu() -> bool:
    """Whether the launcher was given --cpu."""
    return is_on("ACCELERATE_USE_CPU")


def launcher() -> str:
    """What started this process."""
    if "ACCELERATE_MIXED_PRECISION" in os.environ:
        return "accelerate launch"
    return "torchrun" if "TORCHELASTIC_RUN_ID" in os.environ else "python"


def launcher_settings() -> dict[str, Any]:
    """The TrainingArguments that the launcher asks for; what it leaves open is left out. Raises InputError for what is
    not supported."""
    refuse_unsupported()
    settings: dict[str, Any] = {}
    if is_on(FSDP):
        from common.sharded.options import launched

        settings |= launched()
    precision = os.environ.get("ACCELERATE_MIXED_PRECISION", "no").lower()
    if precision != "no":
        settings |= {"bf16": precision == "bf16", "fp16": precision == "fp16"}
    if wants_cpu():
        settings["use_cpu"] = True
    backend = os.environ.get("ACCELERATE_DYNAMO_BACKEND", "no").lower()
    if backend != "no":
        settings |= {"torch_compile": True, "torch_compile_backend": backend}
        mode = os.environ.get("ACCELERATE_DYNAMO_MODE", "default")
        settings |= {"torch_compile_mode": mode} if mode != "default" else {}
    # which only DeepSpeed's environment has
    steps = launch_words().get("gradient_accumulation_steps")
    steps = os.environ.get("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", steps)
    if steps is not None:
        if not str(steps).isdecimal() or int(steps) < 1:
            raise InputError(f"accelerate launch --gradient_accumulation_steps: {steps} is not a number above 0")
        settings["gradient_accumulation_steps"] = int(steps)
    return settings


def refuse_unsupported() -> None:
    """Raise InputError where the launcher would share out the weights among processes in another way than FSDP2, or
    wants a precision that is neither bf16 nor fp16."""
    for variable, option in SHARDING.items():
        if is_on(variable):
            name = option.removeprefix("--use_")
            raise InputError(
                f"accelerate launch {option}: {name} is not supported; use accelerate launch --multi_gpu, or for a "
                "model that one card does not hold --use_fsdp --fsdp_version 2"
            )
    precision = os.environ.get("ACCELERATE_MIXED_PRECISION", "no").lower()
    if precision not in PRECISIONS:
        known = ", ".join(PRECISIONS)
        raise InputError(f"accelerate launch --mixed_precision: {precision} is not supported, expected one of {known}")


def refuse_fsdp(program: str) -> None:
    """Raise InputError where the launcher would share out the weights and a program holds the whole model in each
    process."""
    if is_on(FSDP):
        how = "use accelerate launch --multi_gpu, or one process"
        raise InputError(f"accelerate launch --use_fsdp: {program} holds the whole model in each process; {how}")


def check_settings(settings: Mapping[str, Any], values: Mapping[str, Any], explicit: Iterable[str]) -> None:
    """Raise InputError where the launcher and an option contradict each other; else say what holds because of it, and
    what it was given that nothing reads.

    settings: of launcher_settings(). values: by field, with the settings as defaults. explicit: the fields that the
    command line or the preset name.
    """
    for name, wanted in settings.items():
        if name in explicit and values[name] != wanted:
            both = f"the launcher asks for {wanted} (accelerate launch, accelerate config), the options for"
            raise InputError(f"{name}: {both} {values[name]}; give it once")
    if held := [f"{name} {wanted}" for name, wanted in settings.items() if wanted is not False and name != "use_cpu"]:
        print_once(f"accelerate launch: {', '.join(held)}")
    say_idle(launch_words())


def launch_words() -> dict[str, Any]:
    """What the command line of `accelerate launch` names, by option; empty where this process has no such parent."""
    if launcher() != "accelerate launch":
        return {}
    import psutil
    from accelerate.commands.launch import launch_command_parser

    try:
        words = psutil.Process().parent().cmdline()
    except (psutil.Error, AttributeError):  # it has ended, or is another user's
        return {}
    starts = [i for i, word in enumerate(words) if word == "launch" or word.endswith(("accelerate-launch", ".launch"))]
    if not starts:
        return {}
    try:
        parsed, _ = launch_command_parser().parse_known_args(words[starts[0] + 1 :])
    except SystemExit:  # a launcher that takes other options
        return {}
    named = {name: getattr(parsed, name) for name in getattr(parsed, "nondefault", ())}
    return {**named, "num_processes": asked_processes(parsed)}


def asked_processes(parsed: Any) -> int:
    """How many processes the launcher was to start: --num_processes, or what `accelerate config` has."""
    if parsed.num_processes is not None:
        return parsed.num_processes
    from accelerate.commands.config.config_args import default_config_file, load_config_from_file

    if parsed.config_file is None and (parsed.cpu or not os.path.isfile(default_config_file)):
        return 1
    return getattr(load_config_from_file(parsed.config_file), "num_processes", None) or 1


def say_idle(words: Mapping[str, Any]) -> None:
    """A line for each thing that the launcher was given and that nothing reads. words: of launch_words()."""
    asked = words.get("num_processes", 1)
    if asked > 1 and not any(name in os.environ for name in RANKS):
        how = "several on CPUs start with torchrun --nproc_per_node, on GPUs with accelerate launch --multi_gpu"
        print_once(f"accelerate launch: one process was started, not {asked}; {how}")
    if "gradient_clipping" in words or "ACCELERATE_GRADIENT_CLIPPING" in os.environ:
        print_once("accelerate launch: gradient_clipping is not read; use max_grad_norm")
    compiles = os.environ.get("ACCELERATE_DYNAMO_BACKEND", "no").lower() != "no"
    idle = [name for name in sorted(words) if name.startswith(IDLE if compiles else (*IDLE, "dynamo_"))]
    if is_on(FSDP):
        from common.sharded.options import say_unread

        idle = say_unread(idle)
    if idle:
        names = ", ".join(f"--{name}" for name in idle)
        print_once(f"accelerate launch: {names}: not read, because what it belongs to is not on")


def precision_of_run(config: Mapping[str, Any], use_cpu: bool) -> str:
    """The precision that a run was trained with, by its config.yaml; no where this is a CPU that has it not. Says
    what the launcher asks of predict.py in vain: another precision, and what only training has."""
    precision = "bf16" if config.get("bf16") else "fp16" if config.get("fp16") and not use_cpu else "no"
    asked = os.environ.get("ACCELERATE_MIXED_PRECISION", "no").lower()
    if asked not in ("no", precision):
        print_once(f"accelerate launch: mixed_precision {asked} is not read, the run's is taken: {precision}")
    if os.environ.get("ACCELERATE_DYNAMO_BACKEND", "no").lower() != "no":
        print_once("accelerate launch: dynamo_backend is not read, only train.py compiles")
    return "no" if precision == "bf16" and emulates_bf16(use_cpu) else precision


def launch_record(training_args: Any, num_processes: int) -> dict[str, Any]:
    """What run.json says of how a run was started, and what held because of it."""
    return {
        "launcher": launcher(),
        "num_processes": num_processes,
        "mixed_precision": "bf16" if training_args.bf16 else "fp16" if training_args.fp16 else "no",
        "gradient_accumulation_steps": training_args.gradient_accumulation_steps,
        "torch_compile_backend": training_args.torch_compile_backend if training_args.torch_compile else None,
        **({"device": "cpu"} if training_args.device.type == "cpu" else {}),  # with --cpu where there is a GPU, too
    }
