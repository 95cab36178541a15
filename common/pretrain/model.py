"""A language model over an encoder or decoder, its training by the Trainer, and the encoder that is left."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import torch
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    BertForMaskedLM,
    DataCollatorForLanguageModeling,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from common.console import InputError, Stopped
from common.guards.checkpoints import WholeCheckpoints, last_whole_checkpoint
from common.guards.first_pass import fit_model, max_positions
from common.guards.lock import release
from common.guards.pickles import refusing_pickles
from common.guards.precision import emulates_bf16
from common.guards.weights import is_head, judge, load, refuse_adapters
from common.models import BROKEN_FILES, load_tokenizer, unavailable
from common.options import TextTaskArguments
from common.options.args import set_threads
from common.pretrain.progress import EpochLines
from common.tricks.scratch import scratch_config


class StopAfter(TrainerCallback):
    """Ends training once so many epochs have their checkpoint."""

    def __init__(self, epochs: int):
        self.epochs = epochs

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_training_stop = control.should_training_stop or state.epoch >= self.epochs


def load_language_model(args: Any, texts: Sequence[str]) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, bool]:
    """(model with a language modelling head, tokenizer, whether it is causal): masked where the architecture and the
    tokenizer know how, else causal. `scratch` is the small BERT of train.py.

    Raises InputError for a model without either head or with weights that are missing, for a max_length that it does
    not take, and for words that are to be masked whole where the tokenizer does not say what they are.
    """
    set_seed(args.seed)
    name = args.model_name_or_path
    tokenizer = load_tokenizer(TextTaskArguments(model_name_or_path=name), texts)
    if name == "scratch":
        config: Any = scratch_config(tokenizer)
        model: PreTrainedModel = BertForMaskedLM(config)
        causal = False
    else:
        config = AutoConfig.from_pretrained(name)
        causal = type(config) not in MODEL_FOR_MASKED_LM_MAPPING or tokenizer.mask_token is None
        if causal and type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
            raise InputError(f"model_name_or_path: {name} ({config.model_type}) has no language modelling head")
        try:
            model, info = load(AutoModelForCausalLM if causal else AutoModelForMaskedLM, name)
        except BROKEN_FILES as error:
            raise unavailable(name, error) from error
        refuse_adapters(name, model, info)
        if wrong := [key for key in judge(model, info)[1] if not is_head(key, model)]:
            what = f"{wrong[0]} is missing or of another shape than config.json says"
            raise InputError(f"model_name_or_path: {name}: {what}; expected all weights of the encoder")
        fit_model(model, tokenizer)
    if not (causal or tokenizer.is_fast or args.no_whole_word_mask):
        what = "the tokenizer is a slow one, which does not say what its words are"
        raise InputError(f"model_name_or_path: {what}; give --no_whole_word_mask")
    if args.max_length > (limit := max_positions(config, model.base_model)):
        raise InputError(f"max_length: {args.max_length} is more than the {limit} tokens that the model takes")
    return model, tokenizer, causal


def pretrain(
    args: Any, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, causal: bool, rows: datasets.Dataset
) -> list[dict]:
    """Train, save the encoder and the tokenizer in args.output_dir, and drop the checkpoints; the log history.

    Checkpoints are written after each epoch, where no batch has been drawn ahead: a resumed run has the same bits.
    Raises Stopped after stop_after_epoch.
    """
    use_cpu = not torch.accelerator.is_available()
    set_threads(args.torch_num_threads, use_cpu)
    checkpoints = args.output_dir / "checkpoints"
    training_args = TrainingArguments(
        output_dir=str(checkpoints),
        num_train_epochs=args.num_train_epochs,
        learning_rate=args.learning_rate,
        per_device_train_batch_size=args.per_device_train_batch_size,
        gradient_accumulation_steps=args.gradient_accumulation_steps,
        warmup_steps=args.warmup_steps,
        weight_decay=args.weight_decay,
        bf16=args.bf16 and not emulates_bf16(use_cpu),
        seed=args.seed,
        use_cpu=use_cpu,
        save_strategy="epoch",
        logging_strategy="epoch",
        save_total_limit=2,
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,  # the collator needs the words' places
    )
    options = {} if causal else {"mlm_probability": args.mlm_probability, **masking(args)}
    collate = DataCollatorForLanguageModeling(tokenizer, mlm=not causal, **options)
    trainer = Trainer(model, training_args, train_dataset=rows, data_collator=collate)
    trainer.add_callback(WholeCheckpoints(trainer))
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(EpochLines(len(rows)))
    if args.stop_after_epoch:
        trainer.add_callback(StopAfter(args.stop_after_epoch))
    set_seed(args.seed)
    checkpoint = last_whole_checkpoint(checkpoints, trainer.args)
    with refusing_pickles(checkpoint):
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if round(trainer.state.epoch) < args.num_train_epochs:
        raise Stopped(f"stopped after epoch {trainer.state.epoch:g} of {args.num_train_epochs}; --resume goes on")
    if trainer.is_world_process_zero():
        save_encoder(args, trainer.accelerator.unwrap_model(trainer.model), tokenizer)
        shutil.rmtree(checkpoints, ignore_errors=True)
    release()
    return trainer.state.log_history


def masking(args: Any) -> dict[str, Any]:
    """Whole words, all of which become [MASK] (what DataCollatorForLanguageModeling can do); or tokens, of which 80 %
    do, 10 % become another and 10 % stay (Devlin et al. 2019)."""
    if args.no_whole_word_mask:
        return {}
    return {"whole_word_mask": True, "mask_replace_prob": 1.0, "random_replace_prob": 0.0}


def save_encoder(args: Any, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """The encoder without its language modelling head, config.json last, since a folder with it is a model. A pooler,
    which language models leave away, is that of the model that training began with."""
    encoder = model.base_model
    if args.model_name_or_path != "scratch":
        encoder, _ = load(AutoModel, args.model_name_or_path)
        fit_model(encoder, tokenizer)
        encoder.load_state_dict(model.base_model.state_dict(), strict=False)
    folder = args.output_dir / "checkpoints" / "encoder"
    encoder.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for path in sorted(folder.iterdir(), key=lambda path: path.name == "config.json"):
        os.replace(path, Path(args.output_dir) / path.name)
