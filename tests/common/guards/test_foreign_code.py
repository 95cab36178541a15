"""No question on the terminal, no code and no file that a configuration names."""

import builtins
import json

import pytest
import torch
from transformers import AutoModelForSequenceClassification, BertConfig

from common.console import InputError
from common.models import load_fold, load_model, load_tokenizer
from common.options import TextTaskArguments
from common.tricks.scratch import train_tokenizer
from klue_re.model import load_encoder
from tests.common.guards.test_weights import SMALL

CPU = torch.device("cpu")
AUTO_MAP = {name: f"evil.{name}" for name in ("AutoConfig", "AutoModel", "AutoModelForSequenceClassification")}


@pytest.fixture(autouse=True)
def nothing_is_asked(monkeypatch):
    def asked(*args):
        raise AssertionError(f"a question: {args}")

    monkeypatch.setattr(builtins, "input", asked)


@pytest.fixture
def folder(tmp_path):
    """A tiny BERT's folder, with code beside it that leaves a file behind when it runs."""
    tokenizer = train_tokenizer(["a b c"])
    AutoModelForSequenceClassification.from_config(BertConfig(vocab_size=len(tokenizer), **SMALL)).save_pretrained(
        tmp_path
    )
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    return tmp_path


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


PLACES = {
    "known-type": ("config.json", {"auto_map": AUTO_MAP}),
    "unknown-type": ("config.json", {"auto_map": AUTO_MAP, "model_type": "evil"}),
    "of-another-repository": ("config.json", {"auto_map": {key: f"a/b--{value}" for key, value in AUTO_MAP.items()}}),
    "inside": ("config.json", {"encoder_config": {"model_type": "bert", "auto_map": AUTO_MAP}}),
    "tokenizer": ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["evil.Slow", "evil.Fast"]}}),
}


@pytest.mark.parametrize(("file", "values"), PLACES.values(), ids=PLACES)
def test_code_that_a_folder_brings_is_refused_in_one_sentence_without_a_question(folder, file, values):
    change(folder / file, **values)
    args = TextTaskArguments(model_name_or_path=str(folder))
    tries = [
        lambda: load_tokenizer(args, []),
        lambda: load_model(args, ["a", "b"], train_tokenizer(["a b c"])),
        lambda: load_encoder(args),
        lambda: load_fold(folder, CPU, ["a", "b"], []),
    ]
    for attempt in tries:
        with pytest.raises(InputError, match="auto_map"):
            attempt()
    assert not (folder / "ran").exists()


def test_what_a_person_trusts_is_run(folder):
    change(folder / "config.json", model_type="evil", auto_map=AUTO_MAP)
    with pytest.raises(InputError):
        load_tokenizer(TextTaskArguments(model_name_or_path=str(folder), trust_remote_code=True), [])
    assert (folder / "ran").exists()
