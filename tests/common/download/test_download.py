"""python -m common.download against a server of this machine: what comes is whole, or the next start goes on."""

import builtins
import csv
import errno
import hashlib
import io
import json
import random
import sys
import tarfile
import threading
import types
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.console import InputError, run_main
from common.download import __main__ as command
from common.download import fer2013, fetch
from common.download.catalogue import SOURCES, Download, Source
from common.download.unpack import unpack
from common.options.args import parse_train_args
from common.options.task_module import arguments_of, load_data_module
from tests.tools.scripts import ROOT, siblings_of

BODY = random.Random(0).randbytes(300_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
SOURCE = {"title": "T", "page": "https://page", "licence": "CC0 1.0", "citation": "Who (2020)"}


class Handler(BaseHTTPRequestHandler):
    """Serves server.body with an ETag; server.cuts: after how many bytes the next answers end; server.asked: (path, Range)."""

    def do_GET(self):
        server = self.server
        self.server.asked.append((self.path, self.headers.get("Range")))
        if server.status != 200:
            self.send_response(server.status)
            self.end_headers()
            return
        body, start = server.body, 0
        same = self.headers.get("If-Range") == server.tag or not server.compares
        if server.ranges and (wanted := self.headers.get("Range")) and same:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.send_header("ETag", server.tag)
        self.end_headers()
        cut = server.cuts.pop(0) if server.cuts else len(body)
        self.wfile.write(body[start : start + cut])

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(fetch, "WAITS", (0, 0))
    for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # a client that leaves early is no news
    server.body, server.tag, server.ranges, server.status, server.cuts, server.asked = BODY, '"1"', True, 200, [], []
    server.compares = True
    server.url = f"http://127.0.0.1:{server.server_port}/train.txt"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def start(tmp_path, monkeypatch, capsys):
    """Runs the command on one file (or other sources) into tmp_path/data: its exit code, what it prints, and errors."""

    def run(*sources, url=None, sha256=None):
        file = Download("train.txt", url, sha256)
        sources = sources or (Source(**SOURCE, files={"train_file": "train.txt"}, downloads=(file,)),)
        monkeypatch.setitem(SOURCES, "nsmc", sources)
        monkeypatch.setattr(sys, "argv", ["download", "nsmc", "--data_dir", str(tmp_path / "data")])
        code = 0
        try:
            run_main(command.main)
        except SystemExit as stop:
            code = stop.code
        return code, *capsys.readouterr()

    return run


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def assert_refused(result, *fragments):
    code, _, errors = result
    assert code == 2 and errors.startswith("error: ") and len(errors.splitlines()) == 1, errors
    for fragment in fragments:
        assert fragment in errors


@pytest.mark.parametrize("sha256", [None, SHA256])
def test_a_second_start_checks_the_file_and_downloads_nothing(start, server, tmp_path, sha256):
    code, printed, _ = start(url=server.url, sha256=sha256)
    data = tmp_path / "data"
    assert code == 0 and (data / "train.txt").read_bytes() == BODY
    assert names(data) == ["SOURCES.md", "download.json", "train.txt"]
    assert json.loads((data / "download.json").read_text())["train.txt"]["sha256"] == SHA256
    for text in (printed, (data / "SOURCES.md").read_text()):
        assert "CC0 1.0" in text and "Who (2020)" in text
    assert (f"{SHA256}, which nobody has published" in printed) == (sha256 is None)
    assert f"--train_file {data / 'train.txt'}" in printed
    code, printed, _ = start(url=server.url, sha256=sha256)
    assert code == 0 and "its SHA-256 is right" in printed and len(server.asked) == 1


@pytest.mark.parametrize("sha256", [None, SHA256])
def test_a_file_that_was_changed_since_is_refused_and_stays(start, server, tmp_path, sha256):
    start(url=server.url, sha256=sha256)
    (tmp_path / "data" / "train.txt").write_text("mine")
    assert_refused(start(url=server.url, sha256=sha256), "train.txt: has SHA-256", SHA256, "move it away")
    assert (tmp_path / "data" / "train.txt").read_text() == "mine" and len(server.asked) == 1


def test_a_file_of_the_users_own_is_left_as_it_is(start, server, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.txt").write_text("mine")
    code, printed, _ = start(url=server.url)
    assert code == 0 and "left as it is" in printed and not server.asked
    assert (tmp_path / "data" / "train.txt").read_text() == "mine"


def test_a_cut_connection_goes_on_where_it_stopped_in_the_same_start(start, server, tmp_path):
    server.cuts = [100_000, 50_000]
    code, printed, _ = start(url=server.url, sha256=SHA256)
    assert code == 0 and printed.count("the connection was cut") == 2
    asked = [int(wanted.removeprefix("bytes=").rstrip("-")) for _, wanted in server.asked[1:]]
    assert len(asked) == 2 and 0 < asked[0] <= 100_000 and asked[0] < asked[1] <= 150_000
    assert names(tmp_path / "data") == ["SOURCES.md", "download.json", "train.txt"]


def test_and_in_the_next_start(start, server, tmp_path):
    server.cuts = [100_000, 0, 0, 0]
    assert_refused(start(url=server.url), "bytes are kept")
    assert "train.txt" not in names(tmp_path / "data")
    assert start(url=server.url)[0] == 0
    assert server.asked[-1][1] is not None and (tmp_path / "data" / "train.txt").read_bytes() == BODY


@pytest.mark.parametrize("change", ["no ranges", "another version", "another version, unasked"])
def test_what_is_kept_is_dropped_where_the_server_cannot_go_on_from_it(start, server, tmp_path, change):
    server.cuts = [100_000, 0, 0, 0]
    start(url=server.url)
    server.ranges = change != "no ranges"
    if change.startswith("another version"):
        server.body, server.tag = BODY[::-1], '"2"'
    server.compares = change != "another version, unasked"  # else it gives the rest of what it has now
    assert start(url=server.url)[0] == 0
    assert (tmp_path / "data" / "train.txt").read_bytes() == server.body


def test_a_wrong_hash_is_one_sentence_and_the_file_is_removed(start, server, tmp_path):
    assert_refused(start(url=server.url, sha256="0" * 64), server.url, "0" * 64, "was removed")
    assert names(tmp_path / "data") == []


@pytest.mark.parametrize("room", [0, 100_000])
def test_a_full_disk_is_one_sentence_and_the_next_start_goes_on(start, server, tmp_path, monkeypatch, room):
    def full(path, mode="r", **kwargs):
        file = builtins.open(path, mode, buffering=0, **kwargs)

        class Disk(io.BufferedIOBase):
            def write(self, block):
                if file.tell() + len(block) > room:
                    raise OSError(errno.ENOSPC, "No space left on device")
                return file.write(block)

            def close(self):
                file.close()

        return Disk()

    with monkeypatch.context() as patch:
        patch.setattr(fetch, "open", full, raising=False)
        assert_refused(start(url=server.url), "no space left on the disk of", "train.txt; make room there")
    assert "train.txt" not in names(tmp_path / "data") and len(server.asked) == 1
    assert start(url=server.url)[0] == 0
    assert server.asked[-1][1] == (f"bytes={room // fetch.BLOCK * fetch.BLOCK}-" if room else None)
    assert (tmp_path / "data" / "train.txt").read_bytes() == BODY


def test_a_refusing_server_is_asked_once_and_a_busy_one_again(start, server):
    server.status = 404
    assert_refused(start(url=server.url), "the server answers 404")
    assert len(server.asked) == 1
    server.status = 503
    assert_refused(start(url=server.url), "the server answers 503")
    assert len(server.asked) == 4


def test_the_proxy_of_the_environment_is_asked(start, server, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_port}")
    assert start(url="http://data.invalid/train.txt", sha256=SHA256)[0] == 0
    assert server.asked == [("http://data.invalid/train.txt", None)]


def test_without_a_network_it_is_one_sentence(start, server, monkeypatch, tmp_path):
    server.shutdown()
    server.server_close()
    by_hand = f"save it from a browser as {tmp_path / 'data' / 'train.txt'}"
    assert_refused(start(url=server.url), server.url, "cannot be reached", "HTTPS_PROXY", by_hand)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_port}")
    assert_refused(start(url="http://data.invalid/train.txt"), "the proxy cannot be reached")


@pytest.mark.parametrize(
    ("argv", "fragment"),
    [
        ([], "name a task"),
        (["nsm"], "nearest: 'nsmc'"),
        (["nsmc"], "no such task folder here"),
        (["nsmc", "--data_dir", "file"], "a folder was expected (data_dir)"),
    ],
)
def test_a_command_line_that_names_nothing_is_refused(tmp_path, monkeypatch, argv, fragment):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    monkeypatch.setattr(sys, "argv", ["download", *argv])
    with pytest.raises(InputError, match=fragment.replace("(", r"\(").replace(")", r"\)")):
        command.main()
    assert names(tmp_path) == ["file"]


def test_the_list_has_every_address_and_reaches_for_nothing(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["download", "--list"])
    command.main()
    printed = capsys.readouterr().out
    for sources in SOURCES.values():
        for source in sources:
            assert source.page in printed and source.licence in printed and source.citation in printed
            assert all(file.url in printed for file in source.downloads)
    assert "klue-re-v1.1_train.json (SHA-256 not published)" in printed


@pytest.mark.parametrize("task", SOURCES)
def test_what_the_catalogue_names_is_what_the_folders_train_py_looks_for(task):
    data = load_data_module(ROOT / task)
    looked_for = [data.COMPETITION_FILES.items(), arguments_of(data).OTHER_FILES.items()]
    for source in SOURCES[task]:
        assert any(source.files.items() <= files for files in looked_for), source.title
        assert {file.name for file in source.downloads} in (set(), set(source.files.values()))
        assert bool(source.downloads) != bool(source.accept)
    assert "train_file" in SOURCES[task][0].files


def test_train_py_finds_klue_and_says_so_unless_the_competitions_files_are_there(tmp_path, capsys):
    task = tmp_path / "klue_re"
    (task / "data").mkdir(parents=True)
    (task / "configs").symlink_to(ROOT / "klue_re" / "configs")
    with siblings_of(ROOT / "klue_re"):
        data = load_data_module(ROOT / "klue_re")
        for name in data.TaskArguments.OTHER_FILES.values():
            (task / "data" / name).touch()
        args, _ = parse_train_args(data.TaskArguments, task, data.COMPETITION_FILES, "", [])
        assert "klue-re-v1.1_train.json is there" in capsys.readouterr().out
        assert [Path(getattr(args, key)).name for key in data.TaskArguments.OTHER_FILES] == [
            "klue-re-v1.1_train.json",
            "klue-re-v1.1_dev.json",
            "relation_list.json",
        ]
        (task / "data" / "train.tsv").touch()
        args, _ = parse_train_args(data.TaskArguments, task, data.COMPETITION_FILES, "", [])
        assert Path(args.train_file).name == "train.tsv" and args.label_file is None and args.eval_file is None


def make_zip(path, files):
    """files: name -> bytes, or None: a link."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (0o120777 if content is None else 0o100644) << 16
            archive.writestr(info, b"/etc/passwd" if content is None else content, zipfile.ZIP_DEFLATED)


def make_tar(path, files):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content or b"")
            if content is None:
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(info, io.BytesIO(content or b""))


ARCHIVES = {".zip": make_zip, ".tar.gz": make_tar}


@pytest.mark.parametrize("kind", ARCHIVES)
@pytest.mark.parametrize(
    "bad",
    ["../x", "/x", "train/../../x", "train\\x", "C:/x", "train/link", "link"],
)
def test_an_archive_that_leads_out_of_the_folder_is_refused_as_a_whole(tmp_path, kind, bad):
    folder = tmp_path / "data"
    folder.mkdir()
    archive = folder / f"a{kind}"
    ARCHIVES[kind](archive, {"train/0.jpg": b"0", bad: None if "link" in bad else b"x"})
    with pytest.raises(InputError, match="nothing of it is unpacked"):
        unpack(archive, ["train"], folder)
    assert names(folder) == [archive.name] and names(tmp_path) == ["data"]


@pytest.mark.parametrize("kind", ARCHIVES)
def test_names_are_taken_out_of_where_they_lie_side_by_side_and_nothing_else(tmp_path, kind):
    archive = tmp_path / f"a{kind}"
    files = {"open/train/0.jpg": b"0", "open/train/a/1.jpg": b"1", "open/test/2.jpg": b"2", "open/readme": b"r"}
    ARCHIVES[kind](archive, {"__MACOSX/open/train/._0.jpg": b"?", "train/3.jpg": b"3", **files})
    (tmp_path / "test").mkdir()
    assert unpack(archive, ["train", "test", "labels.csv"], tmp_path) == ["train"]  # test was there
    assert names(tmp_path) == [archive.name, "test", "train"]
    assert names(tmp_path / "train") == ["0.jpg", "a"] and names(tmp_path / "test") == []


@pytest.mark.parametrize("kind", ARCHIVES)
@pytest.mark.parametrize("damage", ["cut", "not one", "a file that is a folder", "zeros"])
def test_a_damaged_archive_is_one_sentence_and_leaves_nothing(tmp_path, kind, damage):
    archive = tmp_path / f"a{kind}"
    files = {"train/a": BODY, "train/a/b": b"1"} if damage == "a file that is a folder" else {"train/a": BODY}
    ARCHIVES[kind](archive, {"train/a": bytes(80_000_000)} if damage == "zeros" else files)
    if damage == "cut":
        archive.write_bytes(archive.read_bytes()[:-150_000])
    if damage == "not one":
        archive.write_bytes(BODY)
    with pytest.raises(InputError, match=archive.name):
        unpack(archive, ["train"], tmp_path)
    assert names(tmp_path) == [archive.name]


BY_HAND = Source(**SOURCE, files={"train_file": "train", "test_file": "test"}, accept="an account")


def test_what_needs_a_login_is_said_and_the_archive_is_unpacked_once_it_is_there(start, tmp_path):
    code, printed, errors = start(BY_HAND)
    assert_refused((code, printed, errors), "nothing to train on yet")
    assert "https://page asks for an account" in printed and "then put train, test" in printed
    make_zip(tmp_path / "data" / "open.zip", {"open/train/0.jpg": b"0"})
    make_zip(tmp_path / "data" / "more.zip", {"test/1.jpg": b"1"})
    code, printed, _ = start(BY_HAND)
    assert code == 0 and "open.zip: train taken out of it" in printed and "more.zip: test taken out of it" in printed
    before = (tmp_path / "data" / "train").stat().st_mtime_ns
    code, printed, _ = start(BY_HAND)
    assert code == 0 and "taken out" not in printed and (tmp_path / "data" / "train").stat().st_mtime_ns == before


class KaggleApi:
    """Stands for kaggle's: `found` are the files of the competition."""

    found: dict = {}

    def authenticate(self):
        if self.found is None:
            raise OSError("Could not find kaggle.json")

    def competition_download_file(self, competition, name, path, quiet):
        if name not in self.found:
            raise ValueError("403 Client Error: Forbidden")
        make_zip(Path(path, f"{name}.zip"), {name: self.found[name]})


@pytest.fixture
def kaggle(monkeypatch):
    module = types.ModuleType("kaggle.api.kaggle_api_extended")
    module.KaggleApi = KaggleApi
    for name in ("kaggle", "kaggle.api"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return KaggleApi


CLASS = Source(
    **SOURCE,
    files={"train_file": "a.csv", "test_file": "b.csv"},
    accept="an account",
    competition="c",
    kaggle_files=("a.csv", "b.csv"),
)


def test_the_kaggle_package_is_used_where_it_has_a_key(start, kaggle, tmp_path, monkeypatch):
    monkeypatch.setattr(kaggle, "found", {"a.csv": b"1", "b.csv": b"2"})
    code, printed, _ = start(CLASS)
    assert code == 0 and "by the kaggle package" in printed
    assert (tmp_path / "data" / "b.csv").read_bytes() == b"2"


@pytest.mark.parametrize(
    ("found", "why"), [(None, "has no key"), ({}, "403 Client Error"), ({"a.csv": b"1"}, "403 Client Error")]
)
def test_what_the_kaggle_package_lacks_stands_in_the_sentence(start, kaggle, tmp_path, monkeypatch, found, why):
    monkeypatch.setattr(kaggle, "found", found)
    result = start(CLASS)
    assert_refused(result, "nothing to train on yet")
    assert why in result[1] and "https://page asks for an account" in result[1]
    assert names(tmp_path / "data") == []


def test_without_the_kaggle_package_the_sentence_says_so(start, monkeypatch):
    monkeypatch.setitem(sys.modules, "kaggle", None)
    assert "is not installed" in start(CLASS)[1]


@pytest.mark.parametrize("name", fer2013.MD5)
def test_fer2013s_pixels_become_folders_of_labels_that_reon_face_reads(tmp_path, monkeypatch, name):
    path = tmp_path / name
    pixels = np.random.default_rng(0).integers(0, 256, (6, 48, 48))
    header = ["emotion", " Usage", " pixels"] if name == "icml_face_data.csv" else ["emotion", "pixels", "Usage"]
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for row, (label, usage) in enumerate([(0, "Training"), (3, "Training"), (6, "PublicTest"), (0, "PrivateTest")]):
            text = " ".join(map(str, pixels[row].ravel()))
            writer.writerow([label, usage, text] if header[1] == " Usage" else [label, text, usage])
    with pytest.raises(InputError, match="its md5 is"):
        fer2013.write_images(tmp_path)
    monkeypatch.setitem(fer2013.MD5, name, hashlib.md5(path.read_bytes()).hexdigest())
    fer2013.write_images(tmp_path)
    assert names(tmp_path) == sorted([name, "eval", "test", "train"])
    assert np.array_equal(np.asarray(Image.open(tmp_path / "train" / "happy" / "3.png")), pixels[1])
    with siblings_of(ROOT / "reon_face"):
        read = load_data_module(ROOT / "reon_face").read_examples
        rows = read(tmp_path / "train", {"label_names": None, "subject_pattern": None})
        assert list(rows.label_names) == ["angry", "happy"] and len(rows) == 2
