"""The options of decoders, and of LoRA beside its rank: how weights are held, what is adapted, what is saved."""

import importlib.util
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from common.console import InputError
from common.decoders.template import check_template
from common.guards.precision import say_slow_weights
from common.options.fields import ImbalanceArguments, PseudoArguments, StoppingArguments, TrickArguments

TEMPLATE_HELP = "a row as one text, as 'Line: {current}\\nEmotion:', in place of segments; its fields here:"
OF_LORA = ("lora_target_modules", "use_dora", "use_rslora", "merge_adapters", "average_adapters")


@dataclass
class DecoderArguments(TrickArguments):
    """Each is off at its default and imported only when on. TEMPLATE_FIELDS: what a folder's prompt_template may
    hold."""

    GROUP: ClassVar[str] = "decoders and LoRA"
    TEMPLATE_FIELDS: ClassVar[tuple[str, ...]] = ("current",)

    prompt_template: str | None = field(default=None, metadata={"help": f"{TEMPLATE_HELP} {{current}}"})
    model_dtype: Literal["float32", "bfloat16", "float16"] = field(
        default="float32", metadata={"help": "of the frozen weights below LoRA; head and adapters are float32"}
    )
    quantization: Literal["none", "8bit", "4bit"] = field(
        default="none", metadata={"help": "of the frozen weights below LoRA (bitsandbytes); 4bit: NF4, as in QLoRA"}
    )
    attn_implementation: Literal["eager", "sdpa", "flash_attention_2", "flex_attention"] | None = field(
        default=None, metadata={"help": "how attention is computed; default: what transformers takes for the model"}
    )
    lora_target_modules: list[str] | None = field(
        default=None, metadata={"help": "ends of the names of the layers that get adapters; default: all linear ones"}
    )
    use_dora: bool = field(default=False, metadata={"help": "DoRA: direction and length of weights apart"})
    use_rslora: bool = field(default=False, metadata={"help": "rsLoRA: scale by alpha / sqrt(r), not alpha / r"})
    merge_adapters: bool = field(
        default=False, metadata={"help": "save folds as whole models; default: as adapters beside the base's name"}
    )
    average_adapters: bool = field(
        default=False, metadata={"help": "also one model of all folds' adapters, in average/ (their exact mean)"}
    )

    def check(self, training_args: Any) -> None:
        super().check(training_args)
        if self.prompt_template is not None:
            if not self.TEMPLATE_FIELDS:
                raise InputError("prompt_template: this task marks its rows itself and takes none")
            self.prompt_template = self.prompt_template.replace("\\n", "\n").replace("\\t", "\t")
            check_template(self.prompt_template, self.TEMPLATE_FIELDS)
        if self.model_name_or_path == "scratch":
            for name, default in (("model_dtype", "float32"), ("quantization", "none"), ("attn_implementation", None)):
                if getattr(self, name) != default:
                    raise InputError(f"{name}: scratch is made, not loaded; name a model_name_or_path")
        if not self.lora_r:
            for name in OF_LORA:
                if getattr(self, name):
                    raise InputError(f"{name}: belongs to LoRA, which is off; give lora_r, 16 say")
            if self.model_dtype != "float32":
                why = "weights that are trained lose small steps in it; give lora_r, or bf16 for mixed precision"
                raise InputError(f"model_dtype: {self.model_dtype} is for frozen weights below LoRA, {why}")
            if self.quantization != "none":
                raise InputError(f"quantization: {self.quantization} weights cannot be trained; give lora_r, 16 say")
        if self.lora_r and training_args.push_to_hub and not self.merge_adapters:
            raise InputError("push_to_hub: adapters stand on the base's files of this machine; give merge_adapters")
        if self.average_adapters:
            if self.use_dora:
                raise InputError("average_adapters: DoRA's lengths have no exact mean; leave out use_dora")
            if self.merge_adapters:
                raise InputError("average_adapters: needs adapters, merge_adapters saves none; leave out one of them")
            if self.num_folds < 2:
                raise InputError("average_adapters: needs num_folds 2 or more")
        if self.quantization != "none":
            check_quantization(self, training_args)
        say_slow_weights(self.model_dtype, training_args.use_cpu)


def check_quantization(args: Any, training_args: Any) -> None:
    """Raise InputError where rounded weights cannot be had here, or not be saved."""
    if args.merge_adapters:
        how = "merge into whole weights by hand, or leave out merge_adapters"
        raise InputError(f"merge_adapters: {args.quantization} weights would be rounded once more; {how}")
    check_bitsandbytes(args.quantization, training_args.device.type)


def check_bitsandbytes(quantization: str, device: str) -> None:
    """Raise InputError where bitsandbytes is not installed or does not know the device. device: torch's name."""
    if importlib.util.find_spec("bitsandbytes") is None:
        how = "which is not installed (pip install bitsandbytes)"
        raise InputError(f"quantization: {quantization} needs bitsandbytes, {how}")
    import bitsandbytes

    supported = bitsandbytes.supported_torch_devices
    if device not in supported:
        known = ", ".join(sorted(supported - {"npu"}))
        raise InputError(
            f"quantization: bitsandbytes {bitsandbytes.__version__} does not run on {device}, but on {known}"
        )


@dataclass
class TextTaskArguments(PseudoArguments, DecoderArguments, ImbalanceArguments, StoppingArguments):
    """Every field of a task that classifies texts."""
