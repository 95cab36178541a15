"""One fold whose weights are shared out (PyTorch's FSDP2, through Accelerate): each process holds a part of every
weight, gradient and moment, and has a block of the encoder whole only while it computes it.

if training_args.fsdp:
    trainer_class = sharded(trainer_class, fold, make_model, collate)

The same is learned as with the whole model in every process. Checkpoints are written whole by the first process; the
fold, too, which puts the model together on its CPU when the rows are predicted.
"""

from collections.abc import Callable
from typing import Any

from accelerate import Accelerator, PartialState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from torch import nn
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy
from transformers import TrainingArguments

from common.folds import Fold
from common.guards.rows import share_buffers


def sharded(trainer_class: type, fold: Fold, make_model: Callable, collate: Callable) -> type:
    """A FoldTrainer class whose model is shared out from the first step to the last prediction; then, after gather(),
    the first process has it whole, and the others none."""

    class Sharded(trainer_class):
        def __init__(self, model: nn.Module, *args: Any, **kwargs: Any):
            super().__init__(model, *args, **kwargs)
            whole = model.get_base_model() if self.task.lora_r > 0 else model
            self.accelerator.state.fsdp_plugin.transformer_cls_names_to_wrap = block_classes(whole.base_model)

        def create_accelerator_and_postprocess(self) -> None:
            share_out(self.args)
            super().create_accelerator_and_postprocess()

        def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
            with self.accelerator.autocast():  # which Accelerate puts around other models' forward() by itself
                return super().compute_loss(*args, **kwargs)

        def load_best_model(self) -> None:
            if not isinstance(self.model, FSDPModule):  # the fold was stopped when all was trained
                self.model = self.model_wrapped = self.accelerator.prepare(self.model, self.create_optimizer())[0]
            super().load_best_model()

        def finish(self) -> None:
            share_buffers(self.model)

        def gather(self) -> None:
            weights = self.accelerator.get_state_dict(self.model)
            self.model = self.model_wrapped = None
            if not self.accelerator.is_main_process:
                return
            self.model = trainer_class.adapt(make_model(), fold, collate)
            self.model.load_state_dict(weights)
            if settings := self.class_names.settings():
                self.model.config.target = settings
            if self.task.lora_r > 0:
                from common.decoders.adapters import finish_lora

                self.model = finish_lora(self.model, self.task)

    Sharded.__name__ = f"Sharded{trainer_class.__name__}"
    return Sharded


def share_out(training_args: TrainingArguments) -> None:
    """Complete what Accelerate is to do: weights keep their type, and with bf16 autocast computes in it, as in one
    process; gradients are shared out after each micro-batch, because a card may not hold all of them.

    Accelerate 1.15 shares out on accelerators only, though torch does on CPUs, too: there its state is told that it
    does.
    """
    options = training_args.fsdp_plugin_args
    options["mixed_precision_policy"] = MixedPrecisionPolicy()
    training_args.accelerator_config.gradient_accumulation_kwargs = {"sync_each_batch": True}
    if training_args.device.type == "cpu":
        state = Accelerator(cpu=True, mixed_precision="bf16" if training_args.bf16 else "no").state
        state.distributed_type = PartialState().distributed_type = DistributedType.FSDP
        state.fsdp_plugin = FullyShardedDataParallelPlugin(**options)


def block_classes(encoder: nn.Module) -> list[str]:
    """Names of the classes of an encoder's blocks: what its outermost nn.ModuleLists hold.

    Not transformers' _no_split_modules, which for BERT name the embeddings, too: Accelerate 1.15 would share out the
    word embeddings once with them and once alone, and fail.
    """
    names = set()

    def visit(module: nn.Module) -> None:
        for child in module.children():
            if isinstance(child, nn.ModuleList):
                names.update(type(block).__name__ for block in child if not isinstance(block, nn.ModuleList))
            else:
                visit(child)

    visit(encoder)
    return sorted(names)
