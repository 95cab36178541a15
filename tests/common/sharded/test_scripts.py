"""A decoder under `accelerate launch --use_fsdp` (FSDP2) and under torchrun (DDP), two processes: its folds are those of
one process, also after a kill."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from safetensors.numpy import load_file
from transformers import AutoModelForSequenceClassification

from common.logits import Logits
from tests.tools.decoders import make_decoder
from tests.tools.scripts import ENVIRONMENT, ROOT, TORCHRUN, predict, succeed, worker_of

worker = worker_of(ROOT / "friends")
SAMPLE = ROOT / "friends" / "sample"
FSDP = "launch --use_fsdp --fsdp_version 2 --num_processes 2 --main_process_port 0".split()
HOW = {"fsdp": [Path(sys.executable).parent / "accelerate", *FSDP], "ddp": TORCHRUN}
# a large epsilon, because Adam makes steps of differences in the last digit
TRAIN = "--max_train_samples 60 --max_predict_samples 21 --torch_num_threads 1 --adam_epsilon 1e-2 --learning_rate 3e-2"
WHAT = {
    "whole": ["--full_vocabulary"],
    "adapters": "--lora_r 4 --lora_alpha 32 --lora_dropout 0 --gradient_checkpointing".split(),
}
CASES = [("fsdp", "whole"), ("fsdp", "adapters"), ("ddp", "adapters")]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_decoder("llama", tmp_path_factory.mktemp("base"))


def words(base, run, what, batch, *options):
    demo = ["--config", ROOT / "friends/configs/demo.yaml", "--model_name_or_path", base, "--output_dir", run]
    return [*demo, *TRAIN.split(), *WHAT[what], "--per_device_train_batch_size", batch, *options]


def start(how, folder, argv):
    """Two processes, which print to train.log."""
    command = [str(word) for word in [*HOW[how], ROOT / "friends/train.py", *argv]]
    with open(folder / "train.log", "a") as log:
        return subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, stdout=log, stderr=subprocess.STDOUT)


def finish(how, folder, argv):
    assert start(how, folder, argv).wait(timeout=200) == 0, (folder / "train.log").read_text()[-4000:]


@pytest.mark.slow
@pytest.mark.parametrize(("how", "what"), CASES)
def test_folds_are_saved_whole_by_the_first_process_and_predict_what_one_process_trains(
    worker, base, tmp_path, how, what
):
    few = ["--num_folds", 2, "--num_train_epochs", 1]
    finish(how, tmp_path, words(base, tmp_path / "two", what, 4, *few))
    succeed(worker, tmp_path, "train.py", *words(base, tmp_path / "one", what, 8, *few))
    runs = [tmp_path / name for name in ("one", "two")]
    for fold in ("fold0", "fold1"):
        files = [sorted(path.name for path in (run / fold).iterdir() if path.name != "config.yaml") for run in runs]
        assert files[0] == files[1] and not (runs[1] / fold / "checkpoints").exists()
        models = [AutoModelForSequenceClassification.from_pretrained(run / fold).state_dict() for run in runs]
        assert models[0].keys() == models[1].keys()
        for name in ("held_out", "test"):
            one, two = (Logits.load(run / fold / f"{name}_logits.npz") for run in runs)
            assert one.ids.tolist() == two.ids.tolist() and np.abs(one.logits - two.logits).max() < 1e-4
    options = ["--run_dir", runs[1], "--test_file", SAMPLE / "test.csv", "--max_predict_samples", 21]
    said = predict(worker, tmp_path, *options).logits
    assert np.abs(said - Logits.load(runs[1] / "test_logits.npz").logits).max() < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize(("how", "what"), CASES)
def test_a_run_that_is_killed_and_resumed_ends_with_the_same_bits(base, tmp_path, how, what):
    options = ["--fold", 0, "--num_folds", 2, "--num_train_epochs", 6, "--early_stopping_patience", 5]
    killed = tmp_path / "killed"
    process = start(how, tmp_path, words(base, killed, what, 4, *options))
    deadline = time.monotonic() + 200
    while not list(killed.glob("fold0/checkpoints/*/manifest.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    for each in [*psutil.Process(process.pid).children(recursive=True), process]:
        each.kill()
    process.wait()
    assert list(killed.glob("fold0/checkpoints/*/manifest.json")) and not (killed / "fold0/fold.json").exists()
    finish(how, tmp_path, words(base, killed, what, 4, *options, "--resume"))
    finish(how, tmp_path, words(base, tmp_path / "whole", what, 4, *options))
    file = "model.safetensors" if what == "whole" else "adapter_model.safetensors"
    states = [load_file(run / "fold0" / file) for run in (killed, tmp_path / "whole")]
    assert states[0].keys() == states[1].keys()
    assert all(np.array_equal(states[0][key], states[1][key]) for key in states[0])
    logits = [Logits.load(run / "fold0/held_out_logits.npz").logits for run in (killed, tmp_path / "whole")]
    assert np.array_equal(*logits)
