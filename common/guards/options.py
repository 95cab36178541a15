"""What becomes of each field of transformers.TrainingArguments, so that none is accepted and then ignored.

A field is obeyed (another value changes what is trained, chosen or kept, or how fast), refused with a sentence that
says what to use instead, or without meaning for the results (logging, display, memory). Judged by what reads it: the
Trainer of transformers 5.17 to 5.24; FoldTrainer, whose sampler, loader and loss are its own; the loop of hand_signal.
A field that nobody has judged fails tests/common/guards/test_options.py. Imports neither torch nor transformers.
"""

import copy
from collections.abc import Callable, Mapping
from typing import Any

from common.console import InputError

# Who reads the fields, as LOOP of a task's arguments says: FoldTrainer of texts, of anything else, or an own loop.
TEXTS = "texts"
TRAINER = "trainer"
OWN = "own"

OBEYED = frozenset(
    """
    output_dir seed use_cpu num_train_epochs max_steps learning_rate lr_scheduler_type lr_scheduler_kwargs warmup_steps
    optim optim_args weight_decay adam_beta1 adam_beta2 adam_epsilon max_grad_norm label_smoothing_factor
    per_device_train_batch_size per_device_eval_batch_size gradient_accumulation_steps neftune_noise_alpha
    bf16 fp16 tf32 full_determinism gradient_checkpointing gradient_checkpointing_kwargs activation_checkpointing
    activation_checkpointing_kwargs torch_compile torch_compile_backend torch_compile_mode
    eval_strategy eval_steps eval_delay save_strategy save_steps save_total_limit load_best_model_at_end
    metric_for_best_model greater_is_better report_to debug push_to_hub hub_model_id hub_private_repo hub_token
    dataloader_num_workers dataloader_pin_memory dataloader_persistent_workers dataloader_prefetch_factor
    dataloader_multiprocessing_context ddp_find_unused_parameters ddp_bucket_cap_mb ddp_broadcast_buffers
    ddp_static_graph ddp_backend ddp_timeout
    """.split()
)
OBEYED_BY_OWN = frozenset(
    """
    output_dir seed use_cpu num_train_epochs learning_rate lr_scheduler_type lr_scheduler_kwargs warmup_steps
    weight_decay adam_beta1 adam_beta2 adam_epsilon max_grad_norm label_smoothing_factor per_device_train_batch_size
    per_device_eval_batch_size gradient_accumulation_steps bf16 fp16 torch_compile torch_compile_backend
    torch_compile_mode save_total_limit load_best_model_at_end metric_for_best_model greater_is_better report_to
    disable_tqdm push_to_hub hub_model_id hub_private_repo hub_token dataloader_num_workers
    """.split()
)
# Shown, logged, or a matter of memory: weights and scores stay the same.
MEANINGLESS = frozenset(
    """
    logging_strategy logging_steps logging_first_step logging_nan_inf_filter log_on_each_node log_level
    log_level_replica disable_tqdm include_num_input_tokens_seen skip_memory_metrics run_name project trackio_space_id
    trackio_bucket_id trackio_static_space_id torch_empty_cache_steps eval_accumulation_steps use_cache
    remove_unused_columns local_rank
    """.split()
)
SHARDED = "is not supported; use accelerate launch --multi_gpu, or (texts) --use_fsdp --fsdp_version 2"
SHARED = "is not read; use accelerate launch --multi_gpu, or (texts) --use_fsdp --fsdp_version 2"
MEASURES = "cannot be set, the collection measures by itself; metric_for_best_model names what is watched"
EXACT = "because --resume goes on from a checkpoint to the bits of a run that was not stopped"
PUSHED = "is not read, the finished folds are pushed once; use push_to_hub and hub_model_id"
LIGER = "is not read, Liger has no kernels for models that classify; use bf16 or torch_compile"
REFUSED = {
    "resume_from_checkpoint": "is not read; use --resume, which finds the newest checkpoint of the run in output_dir",
    "data_seed": "is not read; use seed (order of the rows) and fold_seed (split into folds)",
    "dataloader_drop_last": "cannot be set, every row is trained on and measured; use per_device_train_batch_size for "
    "even batches",
    "dataloader_in_order": f"cannot be turned off, {EXACT}; use dataloader_prefetch_factor for speed",
    "train_sampling_strategy": "is not read, batches are random; use batch_by_length (texts) for similar lengths",
    "length_column_name": "is not read, lengths are counted in tokens; use batch_by_length (texts)",
    "auto_find_batch_size": "is not read, after an out-of-memory error a fold goes on with half the batch by itself; "
    "use auto_batch_size (texts) for the largest that fits",
    "average_tokens_across_devices": "cannot be turned off, a loss is the mean over the rows of all processes; leave "
    "it at its default",
    "optim_target_modules": "is not supported (GaLore, APOLLO); use optim adafactor for less memory",
    "use_liger_kernel": LIGER,
    "liger_kernel_config": LIGER,
    "bf16_full_eval": "is not read, rows are predicted in the precision of training; use bf16",
    "fp16_full_eval": "is not read, rows are predicted in the precision of training; use fp16",
    "eval_on_start": "cannot be set, a resumed run would evaluate once more, which counts for early stopping; use "
    "eval_strategy steps for more evaluations",
    **dict.fromkeys(
        """
        prediction_loss_only batch_eval_metrics label_names eval_do_concat_batches eval_use_gather_object
        include_for_metrics
        """.split(),
        MEASURES,
    ),
    "save_only_model": f"cannot be set, {EXACT}; use save_strategy no where no checkpoint is wanted",
    "ignore_data_skip": f"cannot be set, {EXACT}; leave it at its default",
    "restore_callback_states_from_checkpoint": f"cannot be turned off, {EXACT}; leave it at its default",
    "enable_jit_checkpoint": f"cannot be set, {EXACT}; use save_strategy steps for more checkpoints",
    "save_on_each_node": "cannot be set, the first process writes the run folder; use an output_dir that all machines "
    "see",
    "hub_strategy": PUSHED,
    "hub_always_push": PUSHED,
    "hub_revision": PUSHED,
    "accelerator_config": "is not read, the batches are the collection's own; use per_device_train_batch_size and "
    "gradient_accumulation_steps",
    "parallelism_config": SHARDED,
    "fsdp": SHARED,
    "fsdp_config": SHARED,
    "deepspeed": SHARDED,
}
# Refused where it is false; true is what a train.py does.
REFUSED_FALSE = {
    "do_train": "a train.py trains; use predict.py for a run that is there",
    "do_eval": "false is not read; use eval_strategy no",
    "do_predict": "false is not read, a test_file that is named is predicted; use a preset without one",
}
# Obeyed of texts, refused of anything else.
OF_TEXTS = {
    "neftune_noise_alpha": "is noise on the embeddings of words, which these models do not have; use mixup_alpha",
    "dataloader_persistent_workers": "cannot be set, workers that outlive an epoch draw other random transforms after "
    "a --resume; use dataloader_prefetch_factor for speed",
}
# What the sentences above say holds for the loop of hand_signal, too, which has fewer options.
SAME_FOR_OWN = frozenset(
    """
    resume_from_checkpoint data_seed dataloader_drop_last bf16_full_eval fp16_full_eval prediction_loss_only
    batch_eval_metrics label_names eval_do_concat_batches eval_use_gather_object include_for_metrics save_on_each_node
    hub_strategy hub_always_push hub_revision accelerator_config parallelism_config fsdp fsdp_config deepspeed do_train
    do_predict
    """.split()
)
NOT_BY_OWN = "is not read by this loop, which evaluates and saves after each epoch; leave it at its default"
FIELDS = OBEYED | MEANINGLESS | REFUSED.keys() | REFUSED_FALSE.keys()
WITHOUT_WARMUP = ("constant", "reduce_lr_on_plateau", "greedy")
Test = Callable[[Any], bool]
# What is read with another field only: that field, which of its values, how to say so.
NEEDS: dict[str, tuple[str, Test, str]] = {
    "eval_steps": ("eval_strategy", lambda value: value == "steps", "with eval_strategy steps"),
    "eval_delay": ("eval_strategy", lambda value: value != "no", "with an eval_strategy, steps or epoch"),
    "save_steps": ("save_strategy", lambda value: value == "steps", "with save_strategy steps"),
    "warmup_steps": (
        "lr_scheduler_type",
        lambda value: value not in WITHOUT_WARMUP,
        "with an lr_scheduler_type that warms up, as constant_with_warmup",
    ),
    "lr_scheduler_kwargs": (
        "lr_scheduler_type",
        lambda value: not value.startswith("constant"),
        "with an lr_scheduler_type that takes some, as cosine_with_min_lr",
    ),
    "greater_is_better": ("metric_for_best_model", bool, "with metric_for_best_model"),
    "hub_model_id": ("push_to_hub", bool, "with push_to_hub"),
    "hub_private_repo": ("push_to_hub", bool, "with push_to_hub"),
    "dataloader_persistent_workers": ("dataloader_num_workers", bool, "with a dataloader_num_workers above 0"),
    "dataloader_prefetch_factor": ("dataloader_num_workers", bool, "with a dataloader_num_workers above 0"),
    "dataloader_multiprocessing_context": ("dataloader_num_workers", bool, "with a dataloader_num_workers above 0"),
    **dict.fromkeys(
        ("gradient_checkpointing_kwargs", "activation_checkpointing_kwargs"),
        ("gradient_checkpointing", bool, "with gradient_checkpointing"),
    ),
}


def refusal(name: str, loop: str) -> str | None:
    """Why a field may not be set, None where it may. loop: TEXTS, TRAINER or OWN."""
    if loop == OWN and name not in OBEYED_BY_OWN | SAME_FOR_OWN:
        return NOT_BY_OWN
    elsewhere = OF_TEXTS.get(name) if loop == TRAINER else None
    return elsewhere or REFUSED.get(name) or REFUSED_FALSE.get(name)


def check_options(
    values: Mapping[str, Any], defaults: Mapping[str, Any], given: set[str], in_preset: set[str], loop: str
) -> None:
    """Raise InputError for a field that is set and that nothing reads.

    values: what command line, preset and defaults give for each field, as parsed. defaults: of TrainingArguments, with
    those of the collection. given, in_preset: the fields that the command line and the preset name. loop: see
    refusal(). A field that this table does not know is let through: a newer transformers has it.
    """
    values = {name: getattr(value, "value", value) for name, value in values.items()}  # enumerations by their value
    names = ("gradient_checkpointing", "activation_checkpointing")  # the old and the new name of one field
    values["gradient_checkpointing"] = any(values.get(name) for name in names)
    for name in sorted(FIELDS & values.keys()):
        value = "no" if values[name] is False and defaults[name] == "no" else values[name]  # the parser's bool | str
        if name in REFUSED_FALSE:
            changed = name in given | in_preset and not value and value is not None
        else:
            changed = value != defaults[name] and (name in given | in_preset)
        if changed and (sentence := refusal(name, loop)):
            raise InputError(f"{name}: {sentence}")
        partner, fits, how = NEEDS.get(name, (None, None, ""))
        # of a preset's pair the command line may change one
        if changed and partner and (name in given or partner not in given) and not fits(values[partner]):
            raise InputError(f"{name}: is read {how} only, {partner} is {values[partner]}")


def loader_options(training_args: Any) -> dict[str, Any]:
    """How a torch DataLoader is to load, as the TrainingArguments say."""
    options = {
        "num_workers": training_args.dataloader_num_workers,
        "pin_memory": training_args.dataloader_pin_memory and not training_args.use_cpu,
    }
    if training_args.dataloader_num_workers:
        options["persistent_workers"] = training_args.dataloader_persistent_workers
        options["prefetch_factor"] = training_args.dataloader_prefetch_factor
        options["multiprocessing_context"] = training_args.dataloader_multiprocessing_context
    return options


def check_optimizer_reads(training_args: Any, *names: str) -> None:
    """Raise InputError for a field of the optimizer, one of `names`, that is set and that the chosen one does not read;
    of optim_args, for any of its parts."""
    from transformers import Trainer

    made = Trainer.get_optimizer_cls_and_kwargs(training_args)
    for name in names:
        value = getattr(training_args, name)
        default = getattr(type(training_args), name)
        changes = {f"{name} {value}": default} if value != default else {}
        if name == "optim_args" and changes:
            parts = value.replace(" ", "").split(",")
            changes = {f"{name} {part}": ",".join(p for p in parts if p != part) or None for part in parts}
        for what, without in changes.items():
            other = copy.copy(training_args)
            setattr(other, name, without)
            if Trainer.get_optimizer_cls_and_kwargs(other) == made:
                optim = getattr(training_args.optim, "value", training_args.optim)
                raise InputError(f"{what}: optim {optim} does not read it; leave it out, or choose another optim")
