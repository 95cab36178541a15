"""Tiny decoders of each family with random weights (2 layers, hidden size 32), for tests: a folder as the hub has it.

make_decoder("qwen2", folder)
"""

from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import BpeTrainer
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from common.decoders.adapters import complete, finish_lora
from common.guards.inputs import weights_fingerprints
from common.models import load_model, load_tokenizer
from common.options import TextTaskArguments
from common.text import Collator

SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
SIZES |= {"num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 256}
GPT = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256}
WINDOW = {"sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"]}
# family -> its configuration
FAMILIES = {
    "qwen2": SIZES,  # Qwen 2.5 is the same
    "qwen3": SIZES,
    "llama": SIZES,
    "gemma2": SIZES | WINDOW | {"query_pre_attn_scalar": 8},
    "gemma3_text": SIZES | WINDOW | {"query_pre_attn_scalar": 8},
    "mistral": SIZES | {"sliding_window": 16},
    "phi3": {key: value for key, value in SIZES.items() if key != "head_dim"},
    "gpt2": GPT,
    "exaone4": SIZES | WINDOW,
}
# the others' tokenizers have none: eos pads
WITH_PAD = {"qwen2": "<|endoftext|>", "qwen3": "<|endoftext|>", "gemma2": "<pad>", "gemma3_text": "<pad>"}
WITH_BOS = ("llama", "gemma2", "gemma3_text", "mistral")
TEXTS = ["How are you? I am fine, thanks.", "What did you say about the trip to the lake?", "이 영화는 정말 재미있다."]


def make_tokenizer(family: str, texts: Iterable[str], padding_side: str = "right") -> PreTrainedTokenizerFast:
    """Bytes and 100 merges; bos, eos and pad tokens as far as the family has them."""
    special = ["<bos>", "<eos>"] + [token for own, token in WITH_PAD.items() if own == family]
    trainer = BpeTrainer(
        vocab_size=360, special_tokens=special, initial_alphabet=ByteLevel.alphabet(), show_progress=False
    )
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevelDecoder()
    tokenizer.train_from_iterator(texts, trainer)
    if family in WITH_BOS:
        tokenizer.post_processor = TemplateProcessing(
            single="<bos> $A", pair="<bos> $A <bos> $B", special_tokens=[("<bos>", 0)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<bos>",
        eos_token="<eos>",
        padding_side=padding_side,
        model_input_names=["input_ids", "attention_mask"],
        **({"pad_token": WITH_PAD[family]} if family in WITH_PAD else {}),
    )


def make_decoder(
    family: str, folder: Path, texts: Iterable[str] = TEXTS, padding_side: str = "right", seed: int = 0
) -> Path:
    """The folder, with a causal language model of that family and its tokenizer, as the hub has them."""
    tokenizer = make_tokenizer(family, texts, padding_side)
    ids = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2 if family in WITH_PAD else None}
    config = AutoConfig.for_model(family, vocab_size=len(tokenizer), initializer_range=0.1, **FAMILIES[family], **ids)
    torch.manual_seed(seed)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Path(folder)


def save_adapters(model: PeftModel, args: Any, folder: Path, tokenizer: PreTrainedTokenizerBase) -> torch.nn.Module:
    """What is saved of a fold that is trained, also in its folder: the model with its adapters, or the merged one."""
    saved = finish_lora(model, args).eval()
    saved.save_pretrained(folder)
    complete(saved, folder, Namespace(config=vars(args), record={"data": weights_fingerprints(args)}))
    tokenizer.save_pretrained(folder)
    return saved


def load_classifier(folder: Path, label_names: list[str]) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """(a text task's model, in evaluation mode; its tokenizer) from a folder of weights."""
    args = TextTaskArguments(model_name_or_path=str(folder))
    tokenizer = load_tokenizer(args, [])
    return load_model(args, label_names, tokenizer).eval(), tokenizer


@torch.no_grad()
def logits_of(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: list[dict]) -> torch.Tensor:
    """(B, C) of rows of tokenize(), in one batch."""
    return model(**{key: value for key, value in Collator(tokenizer)(rows).items() if key != "labels"}).logits
