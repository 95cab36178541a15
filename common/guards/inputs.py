"""Inputs that change: fingerprints of weights, and what a run's files say of all its inputs against what they are now.

weights_fingerprints(args)           # {"model_name_or_path": {"path": ..., "sha256": ...}}
rows_fingerprint(examples)           # {"rows": {"sha256": ...}}: data.py can be edited, too
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from common.console import InputError
from common.examples import TextExample
from common.files import read_json, sha256, walk
from common.guards.manifest import check_fold
from common.guards.special import refuse_special

LABEL_SUFFIXES = (".json", ".csv", ".tsv", ".txt", ".parquet")
PARQUET_END = 2**20  # bytes
# Options that may name a file or a folder that says how the model is made.
WEIGHTS = ("model_name_or_path", "pretrained_weights", "start", "upscale")
RUNS = ("teacher", "pseudo_run")  # options that name runs whose logits are read
# What is read of a folder of weights; not what runs write beside them.
SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".json", ".txt", ".model", ".spm", ".vocab", ".onnx")
ROWS = "rows"  # of run.json's data: what data.py has read
OF_RUNS = ("fold.json", "run.json", "stage.json", "metrics.json", "features.json", "calibration.json")


def data_sha256(path: str | Path) -> str:
    """What tells other data from these: sha256() of a file, folder_sha256() of a folder."""
    return sha256(path) if Path(path).is_file() else folder_sha256(path)


def folder_sha256(folder: str | Path) -> str:
    """Hexadecimal SHA-256 of the names below a folder and the sizes of its files, hidden ones aside: the bytes of
    200,000 images would take minutes to read. Files that may hold labels change without changing their size, so the
    bytes of text files count, and the last of Parquet files, which say where each column lies and what is in it."""
    digest = hashlib.sha256()
    for path in walk(folder):
        size = os.path.getsize(path) if os.path.exists(path) else -1  # a link to nowhere
        digest.update(os.fsencode(f"{os.path.relpath(path, folder)}\0{size}\0"))
        if size > 0 and path.lower().endswith(LABEL_SUFFIXES):
            with open(path, "rb") as file:
                file.seek(max(0, size - PARQUET_END) if path.lower().endswith(".parquet") else 0)
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def weights_paths(args: Any) -> Iterator[tuple[str, str]]:
    """(option, path) of the weights that are files and folders here."""
    for name in WEIGHTS:
        value = getattr(args, name, None)
        if isinstance(value, str) and value not in ("scratch", "none", "hub") and os.path.exists(value):
            yield name, value
    for number, stage in enumerate(getattr(args, "stages", None) or [], start=1):
        fields = stage if isinstance(stage, dict) else dict(pair.partition("=")[::2] for pair in str(stage).split())
        start = str(fields.get("start", ""))
        if start not in ("", "scratch", "imagenet") and os.path.isdir(start):
            yield f"start of stage {number}", start


def weight_files(folder: Path) -> list[Path]:
    """The files of a model's folder, or of the folds of a run, that say what the model is; hidden ones aside."""
    folders = [folder] if (folder / "config.json").exists() else [folder, *sorted(folder.glob("fold*"))]
    paths = [path for inside in folders if inside.is_dir() for path in sorted(inside.iterdir())]
    return [
        path
        for path in paths
        if path.name[0] != "." and path.name not in OF_RUNS and path.suffix in SUFFIXES and not path.is_dir()
    ]


def weights_sha256(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file of weights, or of the names and bytes of a folder's weight_files(). Raises
    InputError for a run's fold that is damaged."""
    path = Path(path)
    if (path / "fold.json").exists():
        check_fold(path)
    digest = hashlib.sha256()
    for file in weight_files(path) if path.is_dir() else [path]:
        refuse_special(file)
        if path.is_dir():
            digest.update(os.fsencode(f"{file.relative_to(path)}\0{file.stat().st_size}\0"))
        with open(file, "rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def logits_sha256(run_dir: str | Path) -> str:
    """Hexadecimal SHA-256 of the names and bytes of a run's logits, its folds' included."""
    digest = hashlib.sha256()
    for file in sorted(Path(run_dir).glob("**/*_logits.npz")):
        digest.update(os.fsencode(f"{file.relative_to(run_dir)}\0{file.stat().st_size}\0"))
        digest.update(bytes.fromhex(sha256(file)))
    return digest.hexdigest()


def weights_fingerprints(args: Any) -> dict[str, dict[str, Any]]:
    """Option -> path and sha256 of what it names here; of a model of the hub the commit that its cache has, where it
    tells."""
    found = {name: {"path": path, "sha256": weights_sha256(path)} for name, path in weights_paths(args)}
    for option in RUNS:
        named = getattr(args, option, None) or []
        for path in named if isinstance(named, list) else [named]:
            found[f"{option} {path}"] = {"path": path, "sha256": logits_sha256(path)}
    name = getattr(args, "model_name_or_path", None)
    if name and name != "scratch" and "model_name_or_path" not in found and (commit := hub_commit(name)):
        found["model_name_or_path"] = {"path": name, "sha256": commit}
    return found


def rows_fingerprint(examples: dict[str, Sequence]) -> dict[str, dict[str, Any]]:
    """ROWS -> sha256 of the rows of all files as they were read: id and label; of texts all of a row, as its group."""
    digest = hashlib.sha256()
    for name, rows in sorted(examples.items()):
        for row in rows:
            fields: Any = (row.id, row.label)
            if isinstance(row, TextExample):  # but for `context`, by which no model is trained
                fields = {key: value for key, value in vars(row).items() if key != "context"}
            digest.update(f"{name}\0{fields!r}\0".encode())
    return {ROWS: {"sha256": digest.hexdigest()}}


def compare_data(run_dir: Path, data: dict[str, dict[str, Any]]) -> None:
    """Raise InputError where a file or folder is not what it was when the run started, as its run.json files say.

    data: option -> path and sha256 now.
    """
    for path in (run_dir / "run.json", *sorted(run_dir.glob("fold*/run.json"))):
        before = read_json(path).get("data") if path.exists() else {}
        if not isinstance(before, dict) or not all(isinstance(entry, dict) for entry in before.values()):
            raise InputError(f"{path}: is damaged, it does not say which data the run was started with")
        for key, entry in before.items():
            if data.get(key, {}).get("sha256") != entry.get("sha256"):
                if key == ROWS:
                    change = "data.py reads other ids, labels, groups or texts now than when the run started"
                    raise InputError(f"{run_dir}: {change}; name another --output_dir")
                change = f"has changed since the run in {run_dir} started"
                raise InputError(f"{entry.get('path')}: {change} ({key}); name another --output_dir")


def hub_commit(name: str) -> str | None:
    """The commit of a hub repository's config.json in the cache; None where it is not there."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        path = try_to_load_from_cache(name, "config.json")
    except (HFValidationError, ValueError):  # no name of the hub, timm's say
        return None
    return Path(path).parent.name if isinstance(path, str) else None
