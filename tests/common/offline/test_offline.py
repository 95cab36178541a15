"""common.offline against a local server that speaks the hub's endpoints, and training from what it brought."""

import json
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml
from transformers import BertConfig, BertForSequenceClassification

import common.offline.__main__ as offline
from common.tricks.scratch import train_tokenizer
from tests.tools.scripts import ENVIRONMENT, ROOT

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NEEDED = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
PRESET = {"model_name_or_path": "owner/tiny", "max_length": 32, "learning_rate": "1e-4", "num_train_epochs": 1}


class Hub(BaseHTTPRequestHandler):
    """/api/models/<id>/..., /<id>/resolve/<commit>/<file> of the folders in `repositories`; what was asked stands in
    `asked`."""

    repositories: dict = {}
    asked: list = []

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = self.path.partition("?")[0]
        self.asked.append(path)
        _, name, rest = re.fullmatch(r"/(api/models/)?(owner/\w+)/?(.*)", path).groups()
        if name == "owner/gated":
            return self.answer(403, b"", {"X-Error-Code": "GatedRepo"})
        if name not in self.repositories:
            return self.answer(401, b"", {"X-Error-Code": "RepoNotFound"})
        folder = self.repositories[name]
        if rest.startswith("resolve/"):
            content = (folder / rest.split("/", 2)[2]).read_bytes()
            return self.answer(200, content, {"ETag": f'"{hash(content)}"', "X-Repo-Commit": COMMIT})
        if rest.startswith("tree/"):
            files = [
                {"type": "file", "path": str(p.relative_to(folder)), "oid": "0", "size": p.stat().st_size}
                for p in all_files(folder)
            ]
            return self.answer(200, json.dumps(files).encode())
        siblings = [{"rfilename": str(p.relative_to(folder))} for p in all_files(folder)]
        self.answer(200, json.dumps({"id": name, "sha": COMMIT, "siblings": siblings}).encode())

    def answer(self, status, content, headers=()):
        self.send_response(status)
        for key, value in {**dict(headers), "Content-Length": len(content)}.items():
            self.send_header(key, str(value))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *args):
        pass


def all_files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """The server's URL. owner/tiny has more files than loading needs, owner/old only torch's weights, owner/empty
    none."""
    base = tmp_path_factory.mktemp("hub")
    tokenizer = train_tokenizer(["how is the weather today", "fine, thank you"])
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    for name in ("tiny", "old", "empty"):
        BertForSequenceClassification(config).save_pretrained(base / name)
        tokenizer.save_pretrained(base / name)
        Hub.repositories[f"owner/{name}"] = base / name
    (base / "tiny" / "onnx").mkdir()
    for extra in ("README.md", "pytorch_model.bin", "tf_model.h5", "onnx/model.onnx", "onnx/config.json"):
        (base / "tiny" / extra).write_text("not needed")
    (base / "old" / "model.safetensors").rename(base / "old" / "pytorch_model.bin")
    (base / "empty" / "model.safetensors").unlink()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def start(folder, endpoint, *command):
    environment = {**ENVIRONMENT, "HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "0", "HF_HOME": str(folder / "home")}
    return subprocess.run(
        [sys.executable, *map(str, command)], cwd=folder, capture_output=True, text=True, env=environment, check=False
    )


def fetch(folder, endpoint, preset):
    """`python -m common.offline` on a preset of a folder that is no task; its result."""
    folder.mkdir(exist_ok=True)
    (folder / "final.yaml").write_text(yaml.safe_dump(preset))
    return start(folder, endpoint, "-m", "common.offline", "final.yaml", "offline")


@pytest.fixture(scope="module")
def fetched(hub, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fetched")
    result = fetch(folder, hub, PRESET)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "without a network: --config offline/final.yaml"
    (folder / "offline").rename(folder / "moved")
    return folder / "moved"


def test_the_folder_holds_what_loading_needs_and_nothing_else(fetched):
    assert {str(path.relative_to(fetched)) for path in all_files(fetched)} == {
        "final.yaml",
        *(f"tiny/{name}" for name in NEEDED),
    }
    assert yaml.safe_load((fetched / "final.yaml").read_text()) == {**PRESET, "model_name_or_path": "./tiny"}


@pytest.mark.slow
def test_a_run_with_the_moved_folders_preset_asks_the_hub_nothing(fetched, hub, tmp_path):
    Hub.asked.clear()
    sample = ROOT / "friends" / "sample" / "train.json"
    options = [
        "--train_file",
        sample,
        "--max_train_samples",
        32,
        "--max_steps",
        1,
        "--torch_num_threads",
        1,
        "--output_dir",
        "run",
    ]
    result = start(tmp_path, hub, ROOT / "friends/train.py", "--config", fetched / "final.yaml", *options)
    assert result.returncode == 0, result.stderr
    assert not Hub.asked
    config = json.loads((tmp_path / "run" / "fold0" / "config.json").read_text())
    assert (config["hidden_size"], config["model_type"]) == (16, "bert")
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["model_name_or_path"] == str(fetched / "tiny")


def test_a_repository_without_safetensors_gives_torchs_weights(hub, tmp_path):
    result = fetch(tmp_path, hub, {**PRESET, "model_name_or_path": "owner/old"})
    assert result.returncode == 0, result.stderr
    assert {path.name for path in all_files(tmp_path / "offline" / "old")} == NEEDED - {"model.safetensors"} | {
        "pytorch_model.bin"
    }


BAD = {
    "unknown": ("owner/none", ["owner/none", "no model"]),
    "gated": ("owner/gated", ["owner/gated", "is gated", "hf auth login"]),
    "no-weights": ("owner/empty", ["owner/empty", "no weights"]),
    "no-network": ("owner/tiny", ["owner/tiny", "cannot be had from the hub"]),
    "no-name": ("a/b/c", ["a/b/c", "cannot be had from the hub"]),
}


@pytest.mark.parametrize(("name", "fragments"), BAD.values(), ids=BAD)
def test_what_cannot_be_had_is_one_sentence_and_no_preset(name, fragments, hub, tmp_path, request):
    endpoint = "http://127.0.0.1:9" if "no-network" in request.node.name else hub
    result = fetch(tmp_path, endpoint, {**PRESET, "model_name_or_path": name})
    assert result.returncode == 2, result.stderr
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert result.stderr.strip().endswith(line) and "Traceback" not in result.stderr
    assert all(fragment in line for fragment in fragments), line
    assert not (tmp_path / "offline" / "final.yaml").exists()


@pytest.mark.parametrize(
    ("preset", "folder", "fragment"),
    [
        ("nsmc/configs/search.yaml", "out", "is a search"),
        ("nsmc/configs/none.yaml", "out", "cannot be read"),
        ("nsmc/configs/demo.yaml", "nsmc/configs", "is the preset itself"),
        ("nsmc/configs/demo.yaml", "README.md", "a folder was expected"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(preset, folder, fragment, monkeypatch, tmp_path, capsys):
    from common.console import run_main

    monkeypatch.chdir(tmp_path)
    for name in ("nsmc", "README.md"):
        os.symlink(ROOT / name, tmp_path / name)
    before = (ROOT / "nsmc/configs/demo.yaml").read_bytes()
    monkeypatch.setattr(sys, "argv", ["offline", preset, folder])
    with pytest.raises(SystemExit) as end:
        run_main(offline.main)
    assert end.value.code == 2 and fragment in capsys.readouterr().err
    assert (ROOT / "nsmc/configs/demo.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("task", "preset", "asked", "changes"),
    [
        ("hand_signal", {"model_name_or_path": "slowfast_r50_8x8"}, [], {}),
        ("hand_signal", {"model_name_or_path": "timm/resnet18"}, [], {}),
        (
            *(
                "hand_signal",
                {"model_name_or_path": "timm/resnet18", "pretrained_weights": "hub"},
                ["timm/resnet18.a1_in1k"],
            ),
            {"pretrained_weights": "./resnet18/model.safetensors"},
        ),
        (
            "hand_signal",
            {"model_name_or_path": "resnet18"},
            ["timm/resnet18.a1_in1k"],
            {"model_name_or_path": "./resnet18"},
        ),
        (
            "hand_signal",
            {"model_name_or_path": "owner/videomae"},
            ["owner/videomae"],
            {"model_name_or_path": "./videomae"},
        ),
        (
            "friends",
            {"model_name_or_path": "bert-large-cased"},
            ["bert-large-cased"],
            {"model_name_or_path": "./bert-large-cased"},
        ),
        ("friends", {"model_name_or_path": "scratch"}, [], {}),
        ("friends", {"model_name_or_path": "sample"}, [], {"model_name_or_path": "./sample"}),
        ("friends", {}, [], {}),
    ],
)
def test_what_is_downloaded_for_which_name(task, preset, asked, changes, monkeypatch, tmp_path):

    names = []
    monkeypatch.setattr(offline, "download", lambda name, target, more: names.append(name))
    assert offline.fetch(preset, ROOT / task, tmp_path / "out") == changes
    assert names == asked
    assert (tmp_path / "out" / "sample").exists() == (preset.get("model_name_or_path") == "sample")


def test_a_file_of_weights_travels_along(tmp_path, monkeypatch):

    (tmp_path / "w.pyth").write_text("weights")
    preset = {"model_name_or_path": "slowfast_r50_8x8", "pretrained_weights": str(tmp_path / "w.pyth")}
    assert offline.fetch(preset, ROOT / "hand_signal", tmp_path / "out") == {"pretrained_weights": "./w.pyth"}
    assert (tmp_path / "out" / "w.pyth").read_text() == "weights"
    with pytest.raises(offline.InputError, match="no such file"):
        offline.fetch({**preset, "pretrained_weights": "none.pyth"}, ROOT / "hand_signal", tmp_path / "out")
