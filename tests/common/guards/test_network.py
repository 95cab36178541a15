"""Without a network a model's name is answered from the cache, or refused, in seconds."""

import os
import socket
import subprocess
import sys
import time

import pytest
from huggingface_hub import constants

from common.guards import network
from common.guards.network import prefer_cache, within
from tests.tools.params import first
from tests.tools.scripts import ENVIRONMENT, ROOT

PROXIES = ("http_proxy", "https_proxy", "all_proxy")


@pytest.fixture
def online(monkeypatch):
    """As where HF_HUB_OFFLINE is not set and no proxy is; a list of the names that were looked up."""
    asked = []
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr(network, "AGAIN", 0)
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, _: asked.append(host))
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return asked


def no_address(host, _):
    raise socket.gaierror(-2, "Name or service not known")


def test_without_an_address_the_cache_is_taken_here_and_by_children(online, monkeypatch, capsys):
    monkeypatch.setattr(socket, "getaddrinfo", no_address)
    prefer_cache("bert-base-cased")
    assert constants.HF_HUB_OFFLINE and os.environ["HF_HUB_OFFLINE"] == "1"
    assert "no network: huggingface.co has no address here" in capsys.readouterr().out


def test_with_an_address_the_hub_is_asked(online, capsys):
    prefer_cache("bert-base-cased")
    assert not constants.HF_HUB_OFFLINE and online == ["huggingface.co"] and not capsys.readouterr().out


def test_a_second_question_is_answered_where_the_network_has_just_come_up(online, monkeypatch):
    answers = iter([no_address, lambda host, _: online.append(host)])
    monkeypatch.setattr(socket, "getaddrinfo", lambda *words: next(answers)(*words))
    prefer_cache("bert-base-cased")
    assert not constants.HF_HUB_OFFLINE and online == ["huggingface.co"]


def test_a_slow_look_up_tells_nothing(online, monkeypatch):
    monkeypatch.setattr(network, "TIMEOUT", 0.1)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: time.sleep(20))
    prefer_cache("bert-base-cased")
    assert not constants.HF_HUB_OFFLINE


def test_a_folder_and_a_proxy_ask_for_no_name(online, tmp_path, monkeypatch):
    prefer_cache(str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://proxy.example:8080")
    prefer_cache("bert-base-cased")
    assert not online


def test_what_asks_is_told_what_was_raised():
    with pytest.raises(KeyError):
        within(1, lambda: {}["no"])
    assert within(1, lambda: 3) == 3


@pytest.mark.parametrize("task", first(1, ["friends", "reon_face"]))
def test_a_name_that_cannot_be_had_is_one_sentence_without_retries(task, tmp_path):
    endpoint = {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "https://nowhere.invalid", "HF_HOME": str(tmp_path / "home")}
    environment = {key: value for key, value in ENVIRONMENT.items() if key.lower() not in PROXIES} | endpoint
    name = {"friends": "bert-base-cased", "reon_face": "efficientnet_b0"}[task]
    words = [ROOT / task / "train.py", "--config", ROOT / task / "configs/demo.yaml", "--model_name_or_path", name]
    done = subprocess.run(
        [sys.executable, *map(str, words), "--output_dir", str(tmp_path / "run")],
        env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2 and "no network: nowhere.invalid has no address here" in done.stdout
    assert done.stderr.count("\n") == 1 and done.stderr.startswith(f"error: model_name_or_path: {name}")
    assert not (tmp_path / "run").exists()
