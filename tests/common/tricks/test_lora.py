import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    DebertaV2Config,
    ElectraConfig,
    ModernBertConfig,
    RobertaConfig,
)

from common.tricks.lora import add_lora, merge_lora

SIZES = {
    "vocab_size": 30, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "num_labels": 3,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
DISENTANGLED = {
    "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8, "max_position_embeddings": 32,
    "conv_kernel_size": 3, "norm_rel_ebd": "layer_norm",
}  # fmt: skip
CONFIGS = {
    "bert": BertConfig(**SIZES),
    "roberta": RobertaConfig(**SIZES),
    "electra": ElectraConfig(**SIZES),
    "deberta": DebertaV2Config(**SIZES, **DISENTANGLED),
    "modernbert": ModernBertConfig(**SIZES, cls_token_id=1, sep_token_id=2),
}
IDS = torch.tensor([[1, 5, 6, 7, 2], [1, 8, 9, 10, 2]])


def build(name):
    torch.manual_seed(0)
    return AutoModelForSequenceClassification.from_config(CONFIGS[name])


@torch.no_grad()
def logits_of(model):
    return model.eval()(input_ids=IDS).logits


def train(model):
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.01)
    model.train()
    for _ in range(3):
        model(input_ids=IDS, labels=torch.tensor([0, 2])).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("name", CONFIGS)
def test_logits_do_not_change_when_lora_is_added(name):
    model = build(name)
    before = logits_of(model)
    assert torch.allclose(logits_of(add_lora(model, r=4, alpha=8, dropout=0.1)), before, atol=1e-6)


@pytest.mark.parametrize("name", CONFIGS)
def test_low_rank_pairs_on_every_encoder_linear_and_the_whole_head_are_trained(name):
    plain = build(name)
    prefix = plain.base_model_prefix
    encoder = {
        key for key, module in plain.named_modules() if isinstance(module, torch.nn.Linear) and key.startswith(prefix)
    }
    head = {key for key, _ in plain.named_parameters() if not key.startswith(prefix)}
    model = add_lora(plain, r=4, alpha=8, dropout=0.1)
    trained = {
        key.removeprefix("base_model.model.") for key, parameter in model.named_parameters() if parameter.requires_grad
    }
    pairs = {f"{key}.{side}.default.weight" for key in encoder for side in ("lora_A", "lora_B")}
    assert {key.replace("modules_to_save.default.", "") for key in trained} == pairs | head


@pytest.mark.parametrize("name", CONFIGS)
def test_merged_model_saved_and_loaded_by_auto_class_gives_the_trained_logits(name, tmp_path):
    model = build(name)
    before = logits_of(model)
    model = add_lora(model, r=4, alpha=8, dropout=0.1)
    train(model)
    trained = logits_of(model)
    assert not torch.allclose(trained, before, atol=1e-2)
    keys = set(build(name).state_dict())
    merged = merge_lora(model)
    assert set(merged.state_dict()) == keys
    merged.save_pretrained(tmp_path)
    loaded, info = AutoModelForSequenceClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert not (tmp_path / "adapter_config.json").exists()
    assert torch.allclose(logits_of(loaded), trained, atol=1e-5)
