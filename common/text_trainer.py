"""FoldTrainer for texts: batches of similar length, and the optional pieces of common/tricks that texts can have."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch.utils.data import Sampler
from transformers import PreTrainedModel, TrainingArguments

from common.batches import LengthBatchSampler, row_lengths
from common.console import InputError, print_once
from common.folds import Fold
from common.targets import Classes
from common.training import FoldTrainer

OVERSAMPLER_STATE = "oversampler_{}.safetensors"  # in a checkpoint; its queues differ between processes


class TextTrainer(FoldTrainer):
    """Rows of similar length share a batch; and what TrickArguments say: LoRA, R-Drop, FGM, AWP and others."""

    def __init__(self, model: Any, task: Any, train_labels: np.ndarray, label_names: Classes, **kwargs: Any):
        super().__init__(model, task, train_labels, label_names, **kwargs)
        self.attack = None
        self.oversampler = None
        if task.fgm_epsilon > 0:
            from common.tricks.adversarial import FGM

            self.attack = FGM(model, task.fgm_epsilon)
        elif task.awp_epsilon > 0:
            from common.tricks.adversarial import AWP

            others = model.words_in_use.norm_of_others() if task.cuts_vocabulary else 0.0
            self.attack = AWP(model, task.awp_epsilon, task.awp_learning_rate, others)
        if task.feature_oversample_ratio > 0:
            from common.tricks.feature_space import FeatureSpaceOversampler

            counts = np.bincount(train_labels, minlength=len(label_names)).tolist()
            how = task.feature_oversample_method, task.feature_oversample_ratio
            self.oversampler = FeatureSpaceOversampler(model, counts, *how)

    @classmethod
    def adapt(cls, model: PreTrainedModel, fold: Fold, collate: Callable) -> torch.nn.Module:
        """The model with LoRA's adapters, where they are on, or with the word vectors that the fold's rows read."""
        task = fold.args
        if task.lora_r > 0:
            from common.decoders.adapters import wrap

            return wrap(model, task)
        if task.cuts_vocabulary:
            from common.tricks.vocabulary import WordsInUse, ids_in_use

            model.words_in_use = WordsInUse(model, ids_in_use(fold, collate, model))
        return model

    @classmethod
    def prepare(cls, make_model: Callable, fold: Fold, collate: Callable, training_args: TrainingArguments) -> None:
        """auto_batch_size: the largest per-device batch that fits."""
        task = fold.args
        if not task.auto_batch_size:
            return
        if task.tokens_per_batch:
            print_once("auto_batch_size: tokens_per_batch sets the batches; nothing is searched for")
            return
        from common.tricks.batch_size import fit_batch_size

        passes = 2 if task.rdrop_alpha > 0 else 1
        fit_batch_size(lambda: cls.adapt(make_model(), fold, collate), fold.train_rows, collate, training_args, passes)

    @classmethod
    def halve_batch(cls, task: Any, training_args: TrainingArguments, error: RuntimeError) -> None:
        if task.tokens_per_batch:  # its micro-batches cannot be halved with the same effective batches
            how = "lower tokens_per_batch"
            raise InputError(f"out of memory with tokens_per_batch {task.tokens_per_batch}: {how}") from error
        super().halve_batch(task, training_args, error)

    def make_batches(self, **shared: int) -> Sampler[list[int]]:
        lengths = row_lengths(self.train_dataset)
        if self.task.tokens_per_batch:
            from common.tricks.token_budget import TokenBudgetBatchSampler

            return TokenBudgetBatchSampler(lengths, self.task.tokens_per_batch, self.args.seed, **shared)
        by_length = self.task.batch_by_length
        return LengthBatchSampler(lengths, self.args.train_batch_size, self.args.seed, by_length=by_length, **shared)

    def create_optimizer(self, *args: Any) -> torch.optim.Optimizer:
        task = self.task
        if self.optimizer is None and (task.layerwise_lr_decay < 1 or task.head_learning_rate is not None):
            from common.tricks.layerwise_lr import parameter_groups

            rates = self.args.learning_rate, task.layerwise_lr_decay, self.args.weight_decay
            decayed = self.get_decay_parameter_names(self.model)
            groups = parameter_groups(self.model, *rates, decayed, task.head_learning_rate)
            optimizer_class, options = self.get_optimizer_cls_and_kwargs(self.args, self.model)
            self.optimizer = optimizer_class(groups, **options)
        return super().create_optimizer(*args)

    def compute_loss(self, model: torch.nn.Module, inputs: dict, *args: Any, **kwargs: Any) -> Any:
        if self.task.rdrop_alpha > 0 and model.training:  # both passes in one: twice the rows, each its own dropout
            inputs = {key: value if key == "labels" else torch.cat([value, value]) for key, value in inputs.items()}
        return super().compute_loss(model, inputs, *args, **kwargs)

    def total_loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The mean of R-Drop's passes and its KL term, with the synthetic rows of oversampling weighed in."""
        passes = len(logits) // len(labels)  # 2 with R-Drop
        labels = labels.repeat(passes, *[1] * (labels.ndim - 1))
        total = super().total_loss(logits, labels)
        if self.oversampler:
            synthetic, count = self.oversampler.loss(labels, self.row_losses)
            total = (total + synthetic) * len(labels) / (len(labels) + count)
        total = total / passes
        if passes == 2:
            total = total + self.task.rdrop_alpha * self.class_names.divergence(*logits.chunk(2)).sum()
        return total

    def training_step(self, model: torch.nn.Module, inputs: dict, *args: Any, **kwargs: Any) -> torch.Tensor:
        loss = super().training_step(model, inputs, *args, **kwargs)
        if self.attack:
            with self.attack.attacked():
                super().training_step(model, inputs, *args, **kwargs)
        return loss

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        super().save_model(output_dir, _internal_call)
        if self.oversampler:
            folder = Path(output_dir)
            folder.mkdir(parents=True, exist_ok=True)  # the first process may not have made it yet
            state = {key: value.contiguous() for key, value in self.oversampler.state_dict().items()}
            save_file(state, folder / OVERSAMPLER_STATE.format(self.args.process_index))

    def load_extra_state(self, checkpoint: str | Path) -> None:
        super().load_extra_state(checkpoint)
        if self.oversampler:
            name = OVERSAMPLER_STATE.format(self.args.process_index)
            self.oversampler.load_state_dict(load_file(Path(checkpoint) / name))

    def finish(self) -> None:
        """Also take the oversampler off and put all word vectors back; LoRA's updates stay adapters, or are merged."""
        super().finish()
        if self.task.cuts_vocabulary:
            self.model.words_in_use.put_back()
        if self.oversampler:
            self.oversampler.remove()
        if self.task.lora_r > 0:
            from common.decoders.adapters import finish_lora

            self.model = finish_lora(self.accelerator.unwrap_model(self.model), self.task)
