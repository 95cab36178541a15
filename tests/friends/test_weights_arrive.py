"""train.py with folders of models: what arrives trains, what does not is refused before the run folder is made."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, BertConfig, RobertaConfig

from common.tricks.scratch import train_tokenizer
from tests.tools.scripts import ROOT, assert_refused, worker_of

FRIENDS = ROOT / "friends"
DEMO = ["--config", str(FRIENDS / "configs" / "demo.yaml"), "--max_train_samples", "60", "--num_train_epochs", "1"]
DEMO += ["--num_folds", "1", "--output_dir", "run", "--model_name_or_path", "model"]
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}

worker = worker_of(FRIENDS)


def make_model(folder, config=BertConfig, **options):
    torch.manual_seed(0)
    tokenizer = train_tokenizer((FRIENDS / "sample" / "train.json").read_text(encoding="utf-8").splitlines())
    AutoModel.from_config(config(vocab_size=len(tokenizer), **SMALL, **options)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def rename(folder, change):
    path = folder / "model.safetensors"
    save_file({change(key): value for key, value in load_file(path).items()}, path, metadata={"format": "pt"})


def test_weights_below_a_prefix_train_a_model_that_predicts(worker, tmp_path):
    make_model(tmp_path / "model")
    rename(tmp_path / "model", lambda key: f"module._orig_mod.{key}")
    before = load_file(tmp_path / "model" / "model.safetensors")
    code, errors = worker.run(tmp_path, "train.py", *DEMO, "--learning_rate", "1e-9")
    assert code == 0, errors
    assert "module._orig_mod. was removed" in worker.printed
    after = load_file(tmp_path / "run" / "fold0" / "model.safetensors")
    for key, value in before.items():
        if "pooler" not in key:
            assert torch.allclose(after[key.replace("module._orig_mod.", "bert.")], value, atol=1e-5), key
    test = str(FRIENDS / "sample" / "test.csv")
    assert worker.run(tmp_path, "predict.py", "--run_dir", "run", "--test_file", test)[0] == 0


def test_a_tokenizer_with_types_trains_and_predicts_with_a_model_that_has_one_type(worker, tmp_path):
    make_model(tmp_path / "model", RobertaConfig, type_vocab_size=1, pad_token_id=0, max_position_embeddings=66)
    code, errors = worker.run(tmp_path, "train.py", *DEMO)
    assert code == 0, errors
    assert "token types are left out" in worker.printed
    test = str(FRIENDS / "sample" / "test.csv")
    code, errors = worker.run(tmp_path, "predict.py", "--run_dir", "run", "--test_file", test)
    assert code == 0, errors


def without_a_layer(folder):
    path = folder / "model.safetensors"
    kept = {key: value for key, value in load_file(path).items() if "layer.1.output.dense" not in key}
    save_file(kept, path, metadata={"format": "pt"})


def with_code(folder):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"auto_map": {"AutoConfig": "evil.Config"}}))


REFUSED = {
    "lost": (without_a_layer, [], "encoder.layer.1.output.dense.bias and 1 other weights are missing"),
    "renamed": (lambda folder: rename(folder, lambda key: f"student.{key}"), [], "other weights are missing"),
    "code": (with_code, [], "auto_map"),
    "positions": (lambda folder: None, ["--max_length", "600"], "max_length: 600 is more than the 512"),
    "no-config": (lambda folder: (folder / "config.json").unlink(), [], "holds no model"),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "options", "words"), REFUSED.values(), ids=REFUSED)
def test_a_model_that_does_not_arrive_is_refused_before_the_run_folder_is_made(
    worker, tmp_path, damage, options, words
):
    make_model(tmp_path / "model")
    damage(tmp_path / "model")
    assert_refused(worker, tmp_path, "train.py", [*DEMO, *options], [words])


def test_a_fold_that_lacks_a_weight_predicts_nothing(worker, tmp_path):
    make_model(tmp_path / "model")
    assert worker.run(tmp_path, "train.py", *DEMO)[0] == 0
    shutil.rmtree(tmp_path / "model")
    without_a_layer(tmp_path / "run" / "fold0")
    argv = ["--run_dir", "run", "--test_file", str(FRIENDS / "sample" / "test.csv")]
    assert_refused(worker, tmp_path, "predict.py", argv, ["run/fold0"])
