"""Tokenized rows that another fold or process has written whole, and that need not be made again.

A file X.arrow with an empty X.whole beside it is read as it is (write_rows()); without it, it is written anew.
"""

import hashlib
import json
from pathlib import Path

from common.files import read_json
from common.guards.manifest import link

TOKENIZER_FILES = ("tokenizer*", "vocab*", "merges*", "special_tokens_map.json", "added_tokens.json", "*.model")


def mark_whole(path: Path) -> None:
    """Say of an Arrow file that it is whole."""
    path.with_suffix(".whole").touch()


def hand_on(source: Path, target: Path) -> None:
    """Give a process of this run the rows that are written in `source`, under the names that it looks for."""
    target.mkdir(parents=True, exist_ok=True)
    for path in source.glob("*-0.arrow"):
        link(path, target / path.name)
        mark_whole(target / path.name)


def rows_of_fold(folder: Path, fold: Path) -> Path:
    """The file in `folder`, which one predict.py makes, for the rows as a fold sees them: the same for all folds with
    the same tokenizer and config.preprocessing. It is marked whole where an earlier fold has written it."""
    digest = hashlib.sha256(json.dumps(read_json(fold / "config.json").get("preprocessing"), sort_keys=True).encode())
    for path in sorted({path for pattern in TOKENIZER_FILES for path in fold.glob(pattern)}):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    rows = folder / f"{digest.hexdigest()}.arrow"
    if rows.exists():
        mark_whole(rows)
    return rows
