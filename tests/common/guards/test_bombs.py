"""Small files that would want much memory, and names that a terminal would obey."""

import resource
import sys
import zipfile

import numpy as np
import pytest

from common.console import InputError, print_once, run_main
from common.files import read_yaml
from common.logits import Logits

NINE_DEEP = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)
)


@pytest.fixture
def little_memory():
    """Two GiB more than the process has: what unfolds a bomb runs into the limit."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**31, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (NINE_DEEP, "aliases multiply"),
        ("a: &a [*a]\n", "row 1: an alias stands inside"),
        ("a: &a {b: *a}\n", "row 1: an alias stands inside"),
    ],
    ids=["nine-deep", "circle", "circle-of-mappings"],
)
def test_aliases_that_multiply_or_go_in_circles_are_refused(tmp_path, little_memory, text, message):
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        read_yaml(tmp_path / "p.yaml")


def test_a_few_aliases_are_read_as_what_they_name(tmp_path):
    (tmp_path / "p.yaml").write_text("a: &a [1, 2]\nb: *a\nc: {d: *a}\n")
    assert read_yaml(tmp_path / "p.yaml") == {"a": [1, 2], "b": [1, 2], "c": {"d": [1, 2]}}


def npz(path, **arrays):
    np.savez_compressed(path, **arrays)
    return path


def test_an_npz_of_zeros_that_unpacks_to_gigabytes_is_refused(tmp_path, little_memory):
    path = tmp_path / "x.npz"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("logits.npy", "w", force_zip64=True) as file,
    ):
        header = {"descr": "<f4", "fortran_order": False, "shape": (2**28, 1)}
        np.lib.format.write_array_header_1_0(file, header)
        for _ in range(16):
            file.write(bytes(2**26))
    assert path.stat().st_size < 2e6
    with pytest.raises(InputError, match="unpack to"):
        Logits.load(path)


def test_an_array_that_claims_more_than_it_has_is_refused(tmp_path, little_memory):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive, archive.open("logits.npy", "w") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (10**12, 8)}
        np.lib.format.write_array_header_1_0(file, header)
        file.write(b"\0" * 64)
    with pytest.raises(InputError, match="claims"):
        Logits.load(tmp_path / "x.npz")


def test_equal_logits_of_many_rows_are_no_bomb(tmp_path):
    rows = Logits(
        [str(i) for i in range(20_000)], np.zeros((20_000, 42)), np.zeros(20_000), [str(i) for i in range(42)]
    )
    rows.save(tmp_path / "x.npz")
    assert len(Logits.load(tmp_path / "x.npz").ids) == 20_000


def test_control_characters_of_names_do_not_reach_the_terminal(capsys, monkeypatch):
    print_once("a\x1b[31mred\x07\x9b2J\r가\tb\u202e")
    assert capsys.readouterr().out == "a\\x1b[31mred\\x07\\x9b2J\\r가\tb\\u202e\n"

    def main():
        raise InputError("id 'x\x1b]0;owned\x07' is bad")

    with pytest.raises(SystemExit):
        run_main(main)
    assert capsys.readouterr().err == "error: id 'x\\x1b]0;owned\\x07' is bad\n"
    assert sys.stdout
