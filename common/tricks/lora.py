"""LoRA: train low-rank updates of the encoder's linear layers and the whole classification head, then fold them in."""

from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from transformers import PreTrainedModel


def add_lora(model: PreTrainedModel, r: int, alpha: float, dropout: float) -> PeftModel:
    """Wrap a sequence classifier so that only W + alpha / r * B A in each encoder linear layer, and its head, are
    trained.

    r: rank of B (out, r) and A (r, in). alpha: scale. dropout: probability on the input of A. B starts at zero, so the
    logits do not change. The head is all that stands beside the encoder: `classifier`, DeBERTa's `pooler`, ModernBERT's
    `head`. Hu et al. 2021 "LoRA: Low-Rank Adaptation of Large Language Models", eq. 3; all linear layers as in Dettmers
    et al. 2023 (QLoRA).
    """
    head = [
        name for name, child in model.named_children() if name != model.base_model_prefix and list(child.parameters())
    ]
    config = LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=r,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules="all-linear",
        modules_to_save=head,
    )
    return get_peft_model(model, config)


def merge_lora(model: PeftModel) -> PreTrainedModel:
    """The plain classifier with the updates added to its weights: what it saves loads with
    AutoModelForSequenceClassification.

    The wrapped model is used up. Logits agree with the wrapped model's up to rounding.
    """
    return model.merge_and_unload()
