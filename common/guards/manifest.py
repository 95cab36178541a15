"""Which files a checkpoint or a finished fold has, their sizes and SHA-256: written last, when the files are on disk.

    write_manifest(folder)               # <folder>/manifest.json
    problem_of(folder)                   # what is wrong with it, None: whole
    fold_problem(folder)                 # of a fold, whose fold.json holds its manifest and vouches for itself

A file counts as written when fsync(2) has returned for it and for its folder.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from common.console import InputError
from common.files import read_json, sha256, write_json
from common.guards.special import refuse_special

MANIFEST = "manifest.json"
# Of a fold's folder: what later starts write, what people edit, and fold.json itself.
NOT_OF_A_FOLD = ("fold.json", "stage.json", "run.json", "config.yaml", "features.json", "README.md")


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    if os.name != "posix" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def link(source: Path, target: Path) -> None:
    """The same file under a second name, or a copy where the file system has no hard links."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def describe(paths: Iterable[Path], folder: Path) -> dict[str, dict[str, Any]]:
    """Name -> size in bytes and SHA-256, after fsync."""
    files = {}
    for path in sorted(paths):
        sync(path)
        files[path.relative_to(folder).as_posix()] = {"size": path.stat().st_size, "sha256": sha256(path)}
    return files


def write_manifest(folder: Path) -> None:
    """manifest.json of all files below a folder; with it the folder is whole."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST]
    files = describe(paths, folder)
    sync(folder)
    write_json(folder / MANIFEST, {"files": files})
    sync(folder)
    sync(folder.parent)


def problem_of(folder: Path) -> str | None:
    """What is wrong with a folder that should have a manifest, as the rest of a sentence; None where it is whole."""
    if not (folder / MANIFEST).exists():
        return "was not finished"
    try:
        files = read_json(folder / MANIFEST).get("files")
    except InputError:
        return f"{MANIFEST} is damaged"
    if problem := differing(folder, files):
        return problem
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    extra = sorted(found - {MANIFEST, *files})  # a library may read what it finds
    return f"{extra[0]} was not written with it" if extra else None


def differing(folder: Path, files: Any) -> str | None:
    """The first file that is not as the manifest says; None where all are."""
    if not isinstance(files, dict) or not all(isinstance(entry, dict) for entry in files.values()):
        return f"{MANIFEST} is damaged"
    for name, entry in files.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        size = path.stat().st_size
        if size != entry.get("size"):
            return f"{name} has {size} bytes, {entry.get('size')} were written"
        if sha256(path) != entry.get("sha256"):
            return f"{name} has other bytes than were written"
    return None


def seal_of(value: dict[str, Any]) -> str:
    """SHA-256 of what a JSON file holds, in whatever order."""
    plain = {key: entry for key, entry in value.items() if key != "seal"}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def write_sealed(path: Path, value: dict[str, Any]) -> None:
    """A JSON file that vouches for itself and for the files beside it: those of the model, and logits."""
    folder = path.parent
    paths = [p for p in folder.iterdir() if p.is_file() and p.name not in NOT_OF_A_FOLD and p.name[0] != "."]
    value = json.loads(json.dumps({**value, "files": describe(paths, folder)}))  # as it is read: keys are texts
    sync(folder)
    write_json(path, {**value, "seal": seal_of(value)})
    sync(folder)


def read_sealed(path: Path) -> dict[str, Any]:
    """What was given to write_sealed()."""
    return {key: value for key, value in read_json(path).items() if key not in ("files", "seal")}


def fold_problem(folder: Path, name: str = "fold.json") -> str | None:
    """What is wrong with a finished fold (or stage), with the file's path first; None where it is whole. Those that
    were made before there were manifests have none, and pass."""
    for path in folder.iterdir():
        refuse_special(path)
    path = folder / name
    try:
        info = read_json(path)
    except InputError as error:
        return str(error)
    if "seal" not in info and "files" not in info:
        return None
    if info.get("seal") != seal_of(info):
        return f"{path}: is damaged, it holds something else than was written"
    problem = differing(folder, info.get("files"))
    return problem and f"{folder / problem.partition(' ')[0]}: is damaged ({problem})"


def check_fold(folder: Path) -> None:
    """Raise InputError, which names the file, where a finished fold is not whole."""
    if problem := fold_problem(folder):
        raise InputError(f"{problem}; start its train.py with --resume, which trains this fold again")
