"""common.pretrain: packed rows, whole words, the same bits after a stop, and a folder that train.py takes."""

import json
from argparse import Namespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tokenizers import ByteLevelBPETokenizer, Tokenizer
from tokenizers.models import Unigram
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer, Metaspace
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    BertForSequenceClassification,
    BertModel,
    DataCollatorForLanguageModeling,
    GPT2Config,
    GPT2LMHeadModel,
    PhobertTokenizer,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
    T5Config,
    T5EncoderModel,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

import common.pretrain.__main__ as command
from common.console import InputError
from common.options.task_module import load_data_module
from common.pretrain.model import load_language_model
from common.pretrain.progress import EpochLines
from common.pretrain.texts import pack, read_texts
from common.tricks.scratch import scratch_config, train_tokenizer
from tests.tools.decoders import make_decoder
from tests.tools.scripts import ROOT, worker_of

SAMPLE = ROOT / "friends" / "sample"
FILES = ["--train_file", SAMPLE / "test.csv"]
PRETRAIN = ROOT / "common" / "pretrain" / "__main__.py"
SMALL = ["--torch_num_threads", "1", "--max_length", "64", "--learning_rate", "1e-3", "--num_train_epochs", "2"]
TEXTS = ["unbelievably long words are split", "short", "another sentence about nothing whatsoever", "the end"] * 3

worker = worker_of(ROOT / "friends")


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["a b c d e f g h i j k l m n o p q r s t u v w x y z the end are"])


def test_packed_rows_hold_every_token_of_every_text_once_and_are_full_but_the_last(tokenizer):
    rows = pack(TEXTS, tokenizer, 32, causal=False)
    expected = [token for text in TEXTS for token in tokenizer(text)["input_ids"]]
    found = [t for row in rows for t, mask in zip(row["input_ids"], row["attention_mask"], strict=True) if mask]
    assert found == expected
    assert {len(values) for row in rows for values in row.values()} == {32}
    assert all(all(row["attention_mask"]) for row in list(rows)[:-1])


def test_words_are_masked_whole_and_special_tokens_and_padding_never(tokenizer):
    rows = list(pack(TEXTS, tokenizer, 32, causal=False))
    options = {"whole_word_mask": True, "mask_replace_prob": 1.0, "random_replace_prob": 0.0, "mlm_probability": 0.4}
    torch.manual_seed(0)
    batch = DataCollatorForLanguageModeling(tokenizer, **options)([dict(row) for row in rows])
    masked = batch["labels"] != -100
    assert 0.2 < masked.float().mean() < 0.6
    split = 0
    for number, row in enumerate(rows):
        tokens = tokenizer.convert_ids_to_tokens(row["input_ids"])
        for place, token in enumerate(tokens):
            assert not (row["special_tokens_mask"][place] and masked[number, place])
            if token.startswith("##") and place:
                split += 1
                assert masked[number, place] == masked[number, place - 1]
    assert split > 50


SPACED = Metaspace(prepend_scheme="always")  # DeBERTa v3's: the space in front of a word is its token's


@pytest.mark.parametrize("pieces", [SPACED, BertPreTokenizer()], ids=["spaces", "characters"])
def test_words_are_told_apart_where_their_tokens_leave_no_gap(pieces):
    model = Tokenizer(Unigram([("<unk>", 0.0), ("[MASK]", 0.0), *((token, -1.0) for token in "▁abc中文字")], 0))
    model.pre_tokenizer = pieces
    if pieces is not SPACED:
        model.normalizer = BertNormalizer()  # which makes a word of each Chinese character
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=model, pad_token="<unk>", mask_token="[MASK]")
    rows = pack(["ab ca", "中文字"], tokenizer, 16, causal=False)
    arrays = (np.array(rows[name]) for name in ("offset_mapping", "special_tokens_mask"))
    words, _ = DataCollatorForLanguageModeling._calc_word_ids_and_prob_mask(*arrays)
    expected = [["▁ab", "▁ca", "▁中文字"], ["ab", "ca", "中", "文", "字"]][pieces is not SPACED]
    tokens = np.array(tokenizer.convert_ids_to_tokens(rows[0]["input_ids"]))
    assert ["".join(tokens[words[0] == word]) for word in np.unique(words[words >= 0])] == expected


def test_texts_are_the_lines_themselves_and_each_is_read_once(tmp_path, capsys):
    train = tmp_path / "train.csv"
    lines = ["Hello there!", "Hello there!", "Bye now."]
    rows = "".join(f"{i},0,{i},Ann,{line}\n" for i, line in enumerate(lines))
    train.write_text("id,i_dialog,i_utterance,speaker,utterance\n" + rows)
    assert read_texts(load_data_module(ROOT / "friends"), [str(train)], "scratch") == [
        "Ann : Hello there!",
        "Ann : Bye now.",
    ]
    assert "3 texts, 2 different ones" in capsys.readouterr().out


def test_both_texts_of_a_pair_are_read(tmp_path):
    (tmp_path / "pairs").mkdir()
    (tmp_path / "pairs" / "data.py").write_text(
        "from common.examples import TextExample\nfrom common.options import TextTaskArguments as TaskArguments\n"
        "LABEL_NAMES = ['a', 'b']\n\n\ndef make_preprocessing(args):\n    return {}\n\n\n"
        "def read_examples(path, preprocessing):\n"
        "    return [TextExample(str(i), ['question', f'answer {i}'], 0) for i in range(2)]\n"
    )
    found = read_texts(load_data_module(tmp_path / "pairs"), ["t.csv"], "scratch")
    assert found == ["question", "answer 0", "answer 1"]


def run(worker, folder, *argv, code=0):
    found, errors = worker.run(folder, PRETRAIN, ROOT / "friends", *SMALL, *argv)
    assert found == code, errors
    return errors


def test_a_stopped_run_goes_on_to_the_same_bits_and_leaves_a_model_that_train_py_takes(worker, tmp_path):
    shared = ["--model_name_or_path", "scratch", *FILES]
    run(worker, tmp_path, *shared, "--output_dir", "whole")
    run(worker, tmp_path, *shared, "--output_dir", "parts", "--stop_after_epoch", "1")
    assert not (tmp_path / "parts" / "config.json").exists()
    assert "another options" in run(
        worker, tmp_path, *shared, "--output_dir", "parts", "--resume", "--seed", "1", code=2
    )
    run(worker, tmp_path, *shared, "--output_dir", "parts", "--resume")
    whole, parts = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "parts"))
    assert whole.keys() == parts.keys() and all(torch.equal(whole[key], parts[key]) for key in whole)
    assert not (tmp_path / "whole" / "checkpoints").exists()
    losses = [
        e["loss"] for e in json.loads((tmp_path / "whole" / "pretrain.json").read_text())["log_history"] if "loss" in e
    ]
    assert losses[1] < losses[0]
    fold = [
        "--num_folds",
        "2",
        "--fold",
        "0",
        "--max_train_samples",
        "40",
        "--num_train_epochs",
        "1",
        "--max_length",
        "64",
    ]
    found, errors = worker.run(
        tmp_path,
        "train.py",
        "--model_name_or_path",
        "whole",
        "--train_file",
        SAMPLE / "train.json",
        *fold,
        "--torch_num_threads",
        "1",
        "--output_dir",
        "run",
    )
    assert found == 0, errors


def test_a_pooler_stays_as_it_was_while_the_encoder_learns(worker, tmp_path, tokenizer):
    model = BertForSequenceClassification(scratch_config(tokenizer))
    model.save_pretrained(tmp_path / "start")
    tokenizer.save_pretrained(tmp_path / "start")
    run(worker, tmp_path, "--model_name_or_path", "start", *FILES, "--output_dir", "out", "--num_train_epochs", "1")
    left, info = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert {key.split(".")[0] for key in info["missing_keys"]} == {"classifier"}
    assert torch.equal(left.bert.pooler.dense.weight, model.bert.pooler.dense.weight)
    assert not torch.equal(
        left.bert.encoder.layer[0].output.dense.weight, model.bert.encoder.layer[0].output.dense.weight
    )


def test_a_decoder_learns_causally_with_an_end_after_each_text(worker, tmp_path):
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(TEXTS, vocab_size=300, special_tokens=["<eos>"])
    bpe.save(str(tmp_path / "bpe.json"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "bpe.json"), eos_token="<eos>")
    config = GPT2Config(
        vocab_size=len(tokenizer), n_embd=32, n_layer=1, n_head=2, n_positions=128, eos_token_id=0, bos_token_id=0
    )
    GPT2LMHeadModel(config).save_pretrained(tmp_path / "gpt")
    tokenizer.save_pretrained(tmp_path / "gpt")
    rows = pack(TEXTS, tokenizer, 16, causal=True)
    assert sum(row["input_ids"].count(0) for row in rows) >= len(TEXTS) and "offset_mapping" not in rows.column_names
    run(worker, tmp_path, "--model_name_or_path", "gpt", *FILES, "--output_dir", "out", "--num_train_epochs", "1")
    assert json.loads((tmp_path / "out" / "pretrain.json").read_text())["kind"] == "causal"
    _, info = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert info["missing_keys"] == {"score.weight"}


@torch.no_grad()
def test_a_decoder_predicts_each_token_from_those_before_it_as_its_own_language_model_does(tmp_path):
    folder = str(make_decoder("llama", tmp_path))
    model, tokenizer, causal = load_language_model(Namespace(model_name_or_path=folder, seed=0, max_length=16), [])
    rows = pack(TEXTS[:4], tokenizer, 16, causal=causal)
    batch = DataCollatorForLanguageModeling(tokenizer, mlm=False)(list(rows))
    own = AutoModelForCausalLM.from_pretrained(folder).eval()(**batch)
    found = model.eval()(**batch)
    assert torch.allclose(found.logits, own.logits, atol=1e-5) and torch.allclose(found.loss, own.loss)
    assert (found.logits[0, 0] - found.logits[0, -1]).abs().max() > 1e-3


def save_slow(folder):
    """A masked language model whose tokenizer is PhoBERT's, which is Python code."""
    folder.mkdir()
    (folder / "vocab.txt").write_text("".join(f"{token} 1\n" for token in "abcdefghijklmnopqrstuvwxyz"))
    (folder / "bpe.codes").write_text("")
    tokenizer = PhobertTokenizer(str(folder / "vocab.txt"), str(folder / "bpe.codes"))
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    RobertaForMaskedLM(RobertaConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def test_a_slow_tokenizers_tokens_are_masked_each_for_itself(worker, tmp_path):
    save_slow(tmp_path / "slow")
    shared = ["--model_name_or_path", "slow", *FILES, "--output_dir", "out", "--num_train_epochs", "1"]
    run(worker, tmp_path, *shared, "--no_whole_word_mask")
    assert (tmp_path / "out" / "config.json").exists()


def test_what_cannot_be_trained_on_is_one_sentence(worker, tmp_path, tokenizer):
    T5EncoderModel(
        T5Config(vocab_size=len(tokenizer), d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    ).save_pretrained(tmp_path / "t5")
    tokenizer.save_pretrained(tmp_path / "t5")
    save_slow(tmp_path / "slow")
    model = BertModel(scratch_config(tokenizer))
    part = {key: value for key, value in model.state_dict().items() if "layer.1.output.dense" not in key}
    model.save_pretrained(tmp_path / "part", state_dict=part)
    tokenizer.save_pretrained(tmp_path / "part")
    for argv, sentence in [
        (["--model_name_or_path", "t5", *FILES], "has no language modelling head"),
        (["--model_name_or_path", "part", *FILES], "expected all weights of the encoder"),
        (["--model_name_or_path", "slow", *FILES], "the tokenizer is a slow one"),
        (["--model_name_or_path", "nowhere", *FILES], "nowhere"),
        (["--model_name_or_path", "scratch", "--train_file", "absent.json"], "no such file"),
        (["--model_name_or_path", "scratch", *FILES, "--max_length", "4096"], "max_length"),
        (["--model_name_or_path", "scratch", *FILES, "--mlm_probability", "1.5"], "mlm_probability"),
    ]:
        errors = run(worker, tmp_path, *argv, "--output_dir", "out", code=2)
        assert sentence in errors.splitlines()[-1] and "Traceback" not in errors
        assert not (tmp_path / "out").exists()
    assert command.make_parser().prog == "python -m common.pretrain"


NO_TRAINING = ["--stop_after_epoch 0", "--seed -1", "--torch_num_threads -1", "--warmup_steps -1", "--weight_decay nan"]


@pytest.mark.parametrize("option", NO_TRAINING)
def test_a_number_that_no_training_can_have_is_refused_and_not_left_unread(option):
    argv = ["friends", "--model_name_or_path", "scratch", "--output_dir", "out", *map(str, FILES), *option.split()]
    with pytest.raises(InputError, match=f"{option.split()[0][2:]}: .* is not "):
        command.check(command.make_parser().parse_args(argv))


def test_the_terminal_shows_a_line_an_epoch_and_no_dictionaries(monkeypatch, capsys):
    now = iter([0.0, 2.0, 4.0])
    monkeypatch.setattr("common.pretrain.progress.time.perf_counter", lambda: next(now))
    lines, args = EpochLines(rows=10), TrainingArguments(num_train_epochs=3, use_cpu=True)
    state, control = TrainerState(epoch=1.0), TrainerControl()
    lines.on_train_begin(args, state, control)  # goes on after the first epoch
    for epoch, loss in ((2.0, 7.25), (3.0, 7.125)):
        state.epoch = epoch
        lines.on_log(args, state, control, {"loss": loss, "epoch": epoch})
    lines.on_log(args, state, control, {"train_runtime": 5.0})
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert shown == [
        ["epoch", "loss", "rows/s", "left"],
        ["2/3", "7.2500", "5.0", "0:02"],
        ["3/3", "7.1250", "5.0", "0:00"],
    ]
