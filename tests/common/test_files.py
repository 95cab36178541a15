"""common/files.py: when a folder of data is another one."""

import os

import pytest

from common.guards.inputs import folder_sha256


@pytest.fixture
def folder(tmp_path):
    for name, content in {
        "a/0.jpg": b"image",
        "a/file_0.json": b'{"action": 0}',
        "b/1.jpg": b"other",
        "s.parquet": bytes(9),
    }.items():
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_bytes(content)
    return tmp_path / "data"


CHANGES = {
    "renamed": lambda folder: os.rename(folder / "b/1.jpg", folder / "b/2.jpg"),
    "of-another-class": lambda folder: os.rename(folder / "b/1.jpg", folder / "a/1.jpg"),
    "removed": lambda folder: os.remove(folder / "b/1.jpg"),
    "added": lambda folder: (folder / "b/3.jpg").touch(),
    "size": lambda folder: (folder / "b/1.jpg").write_bytes(b"longer than it was"),
    "label-of-the-same-length": lambda folder: (folder / "a/file_0.json").write_text('{"action": 1}'),
    "table-of-the-same-length": lambda folder: (folder / "s.parquet").write_bytes(bytes(8) + b"1"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_folder_with_other_files_or_labels_has_another_fingerprint(change, folder):
    before = folder_sha256(folder)
    change(folder)
    assert folder_sha256(folder) != before


def test_a_copied_folder_with_hidden_files_and_a_link_to_itself_has_the_same_fingerprint(folder):
    before = folder_sha256(folder)
    (folder / ".DS_Store").touch()
    os.symlink("..", folder / "b" / "up")
    moved = folder.rename(folder.with_name("moved"))
    assert folder_sha256(moved) == before
