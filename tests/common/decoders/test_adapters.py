"""Folds that are saved as adapters: what predicts, what loads them, what is refused."""

import numpy as np
import pytest
import torch
import transformers
from packaging.version import Version
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    pipeline,
)

from common.console import InputError
from common.decoders import adapters, average
from common.decoders.adapters import wrap
from common.files import read_json
from common.logits import Logits
from common.models import load_fold, load_model
from common.options import TextTaskArguments
from common.targets import Number, SeveralLabels
from common.tricks.scratch import scratch_config, train_tokenizer
from tests.tools.decoders import make_decoder, save_adapters
from tests.tools.scripts import ROOT, predict, succeed, worker_of

worker = worker_of(ROOT / "friends")
SAMPLE = ROOT / "friends" / "sample"
LORA = ["--lora_r", "4", "--lora_alpha", "32", "--learning_rate", "2e-2"]
FEW = [
    "--num_folds",
    "2",
    "--max_train_samples",
    "60",
    "--max_predict_samples",
    "20",
    "--num_train_epochs",
    "1",
    "--torch_num_threads",
    "1",
]


def train(worker, folder, base, *options, name="run"):
    demo = ["--config", ROOT / "friends/configs/demo.yaml", "--model_name_or_path", base, "--output_dir", folder / name]
    succeed(worker, folder, "train.py", *demo, *FEW, *options)
    return folder / name


def demo_over(base, run):
    """Options of friends' demo over a model, into a run folder."""
    config = ROOT / "friends/configs/demo.yaml"
    return ["--config", config, "--model_name_or_path", base, "--output_dir", run]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_decoder("llama", tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def runs(worker, base, tmp_path_factory):
    """The same training with its folds saved as adapters, and merged."""
    folder = tmp_path_factory.mktemp("runs")
    return [
        train(worker, folder, base, *LORA, *how, name=name)
        for name, how in (("adapters", []), ("merged", ["--merge_adapters"]))
    ]


def logits_of(worker, folder, run, *options):
    return predict(worker, folder, "--run_dir", run, "--test_file", SAMPLE / "test.csv", *options).logits


def test_adapters_predict_what_merged_folds_do(worker, runs, tmp_path):
    swapped, merged = (logits_of(worker, tmp_path, run) for run in runs)
    assert np.abs(swapped - merged).max() < 1e-4
    folds = [np.load(runs[0] / f"fold{k}" / "test_logits.npz")["logits"] for k in (0, 1)]
    assert np.abs(folds[0] - folds[1]).max() > 1e-2  # so that a fold which is not swapped is seen
    assert np.abs(swapped[:20] - np.mean(folds, axis=0)).max() < 1e-4


def test_a_fold_holds_adapters_the_head_and_the_bases_name_and_fingerprint(runs, base):
    fold = runs[0] / "fold0"
    said = read_json(fold / "base.json")
    assert said["model_name_or_path"] == str(base)
    assert said["sha256"] == read_json(runs[0] / "run.json")["data"]["model_name_or_path"]["sha256"]
    assert not list(fold.glob("model*.safetensors")) and (fold / "adapter_model.safetensors").exists()
    assert list((runs[1] / "fold0").glob("model*.safetensors")) and not (runs[1] / "fold0" / "base.json").exists()


@torch.no_grad()
@pytest.mark.skipif(Version(transformers.__version__) < Version("5.24"), reason="5.17 misses the head, and says so")
def test_from_pretrained_and_pipeline_load_a_fold_of_adapters(runs):
    models = [AutoModelForSequenceClassification.from_pretrained(run / "fold1").eval() for run in runs]
    tokenizer = AutoTokenizer.from_pretrained(runs[0] / "fold1")
    ids = tokenizer("Joey : How are you?", return_tensors="pt")
    assert torch.allclose(*(model(**ids).logits for model in models), atol=1e-4)
    answers = [pipeline("text-classification", str(run / "fold1"))("Joey : How are you?")[0] for run in runs]
    assert answers[0]["label"] == answers[1]["label"] and answers[0]["label"] in models[0].config.label2id


def test_the_base_is_loaded_once_for_all_folds(runs, monkeypatch):
    loads = []
    load_base = adapters.load_base
    monkeypatch.setattr(adapters, "load_base", lambda *args: loads.append(args) or load_base(*args))
    adapters.LOADED.clear()
    first, second = (adapters.load_adapters(runs[0] / f"fold{k}", torch.device("cpu")) for k in (0, 1))
    assert first is second and len(loads) == 1
    weights = {k: p.clone() for k, p in second.named_parameters()}
    adapters.load_adapters(runs[0] / "fold0", torch.device("cpu"))
    changed = {name for name, parameter in second.named_parameters() if not torch.equal(parameter, weights[name])}
    assert changed and all("lora_" in name or "modules_to_save" in name for name in changed)


@pytest.mark.parametrize("damage", ["changed", "gone", "damaged"])
def test_a_base_that_has_changed_is_one_sentence(worker, base, runs, tmp_path, damage):
    run, path = runs[0], base / "config.json"
    weights = run / "fold0" / "adapter_model.safetensors"
    path, part = {
        "changed": (path, "has changed since they were trained"),
        "gone": (base / "model.safetensors", "is not here"),
        "damaged": (weights, f"{weights}: is damaged"),
    }[damage]
    before = path.read_bytes()
    path.unlink()
    if damage != "gone":
        path.write_bytes(before + b" ")
    try:
        predict_it = ["predict.py", "--run_dir", run, "--test_file", SAMPLE / "test.csv"]
        code, errors = worker.run(tmp_path, *predict_it)
    finally:
        path.write_bytes(before)
    assert code == 2 and part in errors and len(errors.strip().splitlines()) == 1, errors


def test_a_run_of_adapters_that_is_stopped_and_resumed_ends_with_the_same_bits(worker, base, runs, tmp_path):
    how = [*LORA, "--save_strategy", "epoch", "--num_train_epochs", "2", "--num_folds", "2", "--fold", "0"]
    whole = train(worker, tmp_path, base, *how, name="whole")
    stopped = tmp_path / "stopped"
    demo = [
        *demo_over(base, stopped),
        *FEW,
        *how,
    ]
    worker.run(tmp_path, "train.py", *demo, "--stop_after_epoch", "1")
    assert not (stopped / "fold0" / "fold.json").exists()
    succeed(worker, tmp_path, "train.py", *demo, "--resume")
    files = [(run / "fold0" / "adapter_model.safetensors").read_bytes() for run in (whole, stopped)]
    assert files[0] == files[1]


SENTENCES = {
    "no-such-layer": (["--lora_r", "4", "--lora_target_modules", "q_proj", "query"], "lora_target_modules: no linear layer is called 'query', expected some of"),
    "words": (["--lora_r", "4", "--lora_target_modules", "embed_tokens"], "no linear layer is called 'embed_tokens'"),
    "without-lora": (["--use_dora"], "use_dora: belongs to LoRA, which is off"),
    "trained-in-bf16": (["--model_dtype", "bfloat16"], "model_dtype: bfloat16 is for frozen weights below LoRA"),
    "rounded": (["--quantization", "4bit"], "quantization: 4bit weights cannot be trained; give lora_r"),
    "dora": (["--lora_r", "4", "--use_dora", "--average_adapters"], "average_adapters: DoRA"),
    "no-line": (["--prompt_template", "Line: {previous}"], "prompt_template: has no {current}"),
    "no-field": (["--prompt_template", "{current} {emotion}"], "{emotion} is no field of this task, expected some of {current}, {previous}"),
    "context": (["--prompt_template", "{current}", "--context", "current"], "context: is not read with a prompt_template"),
}  # fmt: skip


@pytest.mark.parametrize("options, part", SENTENCES.values(), ids=SENTENCES)
def test_what_cannot_be_is_one_sentence_before_anything_is_written(worker, base, tmp_path, options, part):
    demo = demo_over(base, tmp_path / "run")
    code, errors = worker.run(tmp_path, "train.py", *demo, *FEW, *options)
    assert code == 2 and part in errors and len(errors.strip().splitlines()) == 1, errors
    assert not (tmp_path / "run").exists()


@torch.no_grad()
@pytest.mark.parametrize("lacks", ["pooler", "words"])
def test_what_adapters_do_not_hold_and_the_base_lacks_is_saved_with_the_whole_model(tmp_path, lacks, capsys):
    tokenizer = train_tokenizer(["Joey : How are you?"])
    model = {"pooler": BertForMaskedLM, "words": BertModel}[lacks](scratch_config(tokenizer))
    model.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    args = TextTaskArguments(model_name_or_path=str(tmp_path / "base"), lora_r=2)
    model = load_model(args, ["a", "b"], tokenizer)
    model.config.preprocessing = {"max_length": 60}
    if lacks == "words":  # as words are that are added where the vocabulary has rows that nothing uses
        model.get_input_embeddings().weight[7:9] += 1.0
    saved = save_adapters(wrap(model, args), args, tmp_path / "fold", tokenizer)
    loaded, _ = load_fold(tmp_path / "fold", torch.device("cpu"), ["a", "b"], ["max_length"])
    ids = torch.arange(5, 15)[None]
    assert torch.allclose(loaded.eval()(ids).logits, saved(ids).logits, atol=1e-5)
    reason = {"pooler": "has no pooler", "words": "words were added"}[lacks]
    assert reason in capsys.readouterr().out and (tmp_path / "fold" / "model.safetensors").exists()


@pytest.mark.parametrize("quantization, part", [("4bit", "adapters cannot be saved"), ("none", "no linear layer")])
def test_what_cannot_be_saved_or_adapted_is_said_before_it_is_trained(quantization, part):
    names = ["query"] if quantization == "4bit" else ["word_embeddings"]
    args = TextTaskArguments(lora_r=2, quantization=quantization, lora_target_modules=names)
    model = BertForSequenceClassification(scratch_config(train_tokenizer(["a b"])))
    with pytest.raises(InputError, match=part):
        wrap(model, args)


def test_the_average_of_products_is_one_of_the_summed_rank():
    generator = torch.Generator().manual_seed(0)
    states = [
        {
            "m.lora_A.weight": torch.randn(2, 5, generator=generator),
            "m.lora_B.weight": torch.randn(7, 2, generator=generator),
            "score.weight": torch.randn(3, 7, generator=generator),
        }
        for _ in range(3)
    ]
    mean = average.mean_state(states)
    products = [state["m.lora_B.weight"] @ state["m.lora_A.weight"] for state in states]
    assert mean["m.lora_A.weight"].shape == (6, 5) and mean["m.lora_B.weight"].shape == (7, 6)
    assert torch.allclose(mean["m.lora_B.weight"] @ mean["m.lora_A.weight"], sum(products) / 3, atol=1e-6)
    assert torch.allclose(mean["score.weight"], sum(state["score.weight"] for state in states) / 3)
    factors = [sum(state[key] for state in states) / 3 for key in ("m.lora_B.weight", "m.lora_A.weight")]
    assert not torch.allclose(factors[0] @ factors[1], sum(products) / 3, atol=1e-2)


def test_the_average_of_folds_of_a_number_has_the_mean_of_their_scales_and_is_not_said_to_predict_the_same():
    settings = [{"kind": "number", "loss": "mse", "mean": mean, "scale": mean / 10} for mean in (10.0, 20.0)]
    assert average.mean_target(settings) == {"target": settings[0] | {"mean": 15.0, "scale": 1.5}}
    assert average.mean_target([{"kind": "ordered"}] * 2) == average.mean_target([{}, {}]) == {}
    parts = [Logits(["a", "b"], [[shift], [2.0]], [1.0, 2.0], Number("score")) for shift in (1.0, 3.0)]
    assert "its numbers are 1 away from the averaged ones" in average.describe(average.compare(*parts, None))
    parts = [Logits(["a", "b"], [[9, x], [9, 1]], [[1, 1]] * 2, SeveralLabels(["x", "y"])) for x in (1, -1)]
    assert average.compare(*parts, None)["same_prediction"] == 0.5


@pytest.mark.parametrize("rslora", [[], ["--use_rslora"]], ids=["lora", "rslora"])
def test_averaged_adapters_are_a_run_whose_updates_are_the_folds_mean(worker, base, tmp_path, rslora):
    run = train(
        worker,
        tmp_path,
        base,
        *LORA,
        *rslora,
        "--average_adapters",
        "--eval_file",
        SAMPLE / "train.json",
        "--max_eval_samples",
        "30",
    )
    folds = [AutoModelForSequenceClassification.from_pretrained(run / f"fold{k}") for k in (0, 1)]
    mean = AutoModelForSequenceClassification.from_pretrained(run / "average" / "fold0")
    layers = [model.model.layers[1].mlp.up_proj for model in (*folds, mean)]
    updates = [layer.get_delta_weight("default") for layer in layers]
    assert torch.allclose(updates[2], (updates[0] + updates[1]) / 2, atol=1e-6) and updates[2].abs().max() > 1e-3
    said = read_json(run / "average.json")
    assert said["eval"]["lost"] == pytest.approx(
        said["eval"]["averaged_adapters"]["log_loss"] - said["eval"]["averaged_logits"]["log_loss"], abs=1e-5
    )
    assert said["test"]["rows"] == 20 and 0 <= said["test"]["same_prediction"] <= 1
    logits = logits_of(worker, tmp_path, run / "average", "--prior_correction")
    tokenizer = AutoTokenizer.from_pretrained(run / "average" / "fold0")
    assert np.isfinite(logits).all() and tokenizer.padding_side == "right"
    assert "average_adapters, eval: predicts as the averaged logits do" in (run / "report.md").read_text()


@pytest.mark.slow
def test_a_tiny_decoder_learns_the_sample_ten_points_above_the_majority(worker, tmp_path):
    lines = [line["utterance"] for dialogue in read_json(SAMPLE / "train.json") for line in dialogue]
    base = make_decoder("llama", tmp_path / "base", lines)
    demo = demo_over(base, tmp_path / "run")
    succeed(worker, tmp_path, "train.py", *demo, "--learning_rate", "3e-3", "--torch_num_threads", "1")
    found = read_json(tmp_path / "run" / "metrics.json")["oof"]
    assert found["accuracy"] > found["majority_share"] + 0.1
