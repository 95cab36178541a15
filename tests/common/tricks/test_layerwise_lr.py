import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    DebertaV2Config,
    ElectraConfig,
    ModernBertConfig,
    RobertaConfig,
    Trainer,
    TrainingArguments,
)

from common.tricks.layerwise_lr import parameter_groups

SIZES = {
    "vocab_size": 30, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32, "num_labels": 3,
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
# steps below the head, of 3 layers: one parameter of each kind
EXPECTED = {
    "bert": {"classifier.weight": 0, "bert.pooler.dense.weight": 0, "bert.encoder.layer.2.output.dense.weight": 1,
             "bert.encoder.layer.0.output.LayerNorm.bias": 3, "bert.embeddings.word_embeddings.weight": 4},
    "roberta": {"classifier.dense.weight": 0, "classifier.out_proj.bias": 0, "roberta.encoder.layer.1.attention.self.key.bias": 2,
                "roberta.embeddings.LayerNorm.weight": 4},
    "electra": {"classifier.out_proj.weight": 0, "electra.encoder.layer.2.output.dense.bias": 1, "electra.embeddings_project.weight": 4},
    "deberta": {"pooler.dense.weight": 0, "deberta.encoder.layer.0.attention.self.query_proj.weight": 3,
                "deberta.encoder.rel_embeddings.weight": 4, "deberta.encoder.LayerNorm.weight": 4, "deberta.encoder.conv.conv.weight": 4},
    "modernbert": {"classifier.weight": 0, "head.dense.weight": 0, "model.final_norm.weight": 0, "model.layers.2.attn.Wqkv.weight": 1,
                   "model.layers.0.mlp.Wo.weight": 3, "model.embeddings.tok_embeddings.weight": 4},
}  # fmt: skip


def build(name, tmp_path, freeze=()):
    model = AutoModelForSequenceClassification.from_config(CONFIGS[name])
    for key, parameter in model.named_parameters():
        parameter.requires_grad_(not key.startswith(tuple(freeze)))
    trainer = Trainer(model=model, args=TrainingArguments(output_dir=str(tmp_path), report_to=[], use_cpu=True))
    return model, trainer.get_decay_parameter_names(model)


@pytest.mark.parametrize("name", CONFIGS)
def test_each_trainable_parameter_is_in_exactly_one_group(name, tmp_path):
    model, decay_names = build(name, tmp_path)
    groups = parameter_groups(model, 1e-3, 0.5, 0.01, decay_names)
    grouped = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(grouped) == sorted(id(parameter) for parameter in model.parameters())
    assert len({(group["lr"], group["weight_decay"]) for group in groups}) == len(groups)
    torch.optim.AdamW(groups)  # raises on a parameter that is given twice


@pytest.mark.parametrize("name", CONFIGS)
def test_learning_rate_falls_by_decay_from_head_to_embeddings(name, tmp_path):
    model, decay_names = build(name, tmp_path)
    groups = parameter_groups(model, 1e-3, 0.5, 0.01, decay_names)
    rates = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    parameters = dict(model.named_parameters())
    for key, steps in EXPECTED[name].items():
        assert rates[id(parameters[key])] == pytest.approx(1e-3 * 0.5**steps), key
    assert [group["lr"] for group in groups] == sorted((group["lr"] for group in groups), reverse=True)


@pytest.mark.parametrize("name", CONFIGS)
def test_only_the_named_parameters_get_weight_decay(name, tmp_path):
    model, decay_names = build(name, tmp_path)
    groups = parameter_groups(model, 1e-3, 0.5, 0.01, decay_names)
    decayed = {id(parameter) for group in groups if group["weight_decay"] == 0.01 for parameter in group["params"]}
    assert decayed == {id(parameter) for key, parameter in model.named_parameters() if key in decay_names}
    assert all(group["weight_decay"] in (0.0, 0.01) for group in groups)


def test_frozen_layers_are_in_no_group_and_do_not_change_the_other_rates(tmp_path):
    model, decay_names = build("bert", tmp_path, freeze=["bert.encoder.layer.2"])
    groups = parameter_groups(model, 1e-3, 0.5, 0.01, decay_names)
    assert all(parameter.requires_grad for group in groups for parameter in group["params"])
    assert {group["lr"] for group in groups} == {1e-3, 1e-3 * 0.5**2, 1e-3 * 0.5**3, 1e-3 * 0.5**4}


@pytest.mark.parametrize("name", CONFIGS)
def test_the_head_alone_can_have_another_rate(name, tmp_path):
    model, decay_names = build(name, tmp_path)
    groups = parameter_groups(model, 1e-3, 0.5, 0.01, decay_names, head_learning_rate=0.25)
    plain = parameter_groups(model, 1e-3, 0.5, 0.01, decay_names)
    rates, before = ({id(p): group["lr"] for group in made for p in group["params"]} for made in (groups, plain))
    head = {id(p) for key, p in model.named_parameters() if EXPECTED[name].get(key) == 0}
    assert head and all(rates[p] == 0.25 for p in head)
    assert all(rates[p] == (0.25 if before[p] == 1e-3 else before[p]) for p in rates)


def test_peft_in_front_of_the_names_changes_no_rate():
    encoder = torch.nn.ModuleDict(
        {"pooler": torch.nn.Linear(2, 2), "layer": torch.nn.ModuleList([torch.nn.Linear(2, 2)])}
    )
    plain = torch.nn.ModuleDict({"encoder": encoder, "classifier": torch.nn.Linear(2, 2)})
    wrapped = torch.nn.ModuleDict({"base_model": torch.nn.ModuleDict({"model": plain})})
    rates = [
        [(group["lr"], len(group["params"])) for group in parameter_groups(model, 1.0, 0.5, 0.0, ())]
        for model in (plain, wrapped)
    ]
    assert rates[0] == rates[1] == [(1.0, 4), (0.5, 2)]
