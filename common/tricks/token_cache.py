"""Token ids of texts that an earlier run, fold, search trial or predict.py has read with the same tokenizer.

    $XDG_CACHE_HOME/competition-recipes/tokens/        # default: ~/.cache/competition-recipes/tokens
        <key>.npy                                      # int32: tokens of each of N texts, then all ids
        <key>.json                                     # its size and SHA-256, written last

COMPETITION_RECIPES_CACHE names another folder, or `off`. A key is the SHA-256 of all that the ids depend on: the texts,
what the tokenizer is (not where it lies), how it is called, and the packages. So an entry never goes stale, and holds
neither ids of rows nor labels; those, and what max_length cuts, are each run's own. Where the folder holds more than
MOST_BYTES, what was used least recently goes. What cannot be read or written (a damaged entry, a full disk, a home
without write permission) is as if it were not there: the texts are read anew.
"""

import hashlib
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version
from itertools import accumulate, chain
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase
from transformers.tokenization_utils_tokenizers import TokenizersBackend

from common.console import InputError
from common.files import read_json, sha256, write_json

FEWEST_TEXTS = 5000  # fewer are read in about a second
MOST_BYTES = 2_000_000_000  # of all entries; 150,000 reviews are 14 MB
STALE_SECONDS = 3600  # a temporary file from before is of a process that was killed
FORMAT = 1  # of pack(); another one has other keys
VARIABLE = "COMPETITION_RECIPES_CACHE"
# BPE-dropout (Provilkov et al. 2020, arXiv 1910.13267) reads a text in another way each time; vocabularies have no
# numbers with a point after a word.
DROPOUT = re.compile(r'"dropout":\s*\d+\.\d')
PACKAGES = ("transformers", "tokenizers", "numpy")


def token_ids(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, **how: bool) -> list[list[int]]:
    """Ids of each text without special tokens; how: options of the tokenizer's call."""

    def read() -> list[list[int]]:
        return tokenizer(texts, add_special_tokens=False, verbose=False, **how)["input_ids"]

    cache = open_cache() if len(texts) >= FEWEST_TEXTS else None
    key = key_of(texts, tokenizer, how) if cache else None
    if key is None:
        return read()
    packed = cache.find(key)
    if packed is not None:
        return unpack(packed, len(texts))
    ids = read()
    cache.add(key, pack(ids))
    return ids


def pack(ids: list[list[int]]) -> np.ndarray:
    """int32 (N + M,): the numbers of tokens of N texts, then their M ids."""
    counts = [len(part) for part in ids]
    return np.fromiter(chain(counts, *ids), dtype=np.int32, count=len(counts) + sum(counts))


def unpack(packed: np.ndarray, num_texts: int) -> list[list[int]]:
    """What was given to pack(), of that many texts."""
    ends = list(accumulate(packed[:num_texts].tolist()))
    ids = packed[num_texts:].tolist()
    return [ids[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]


class TokenCache:
    """A folder of arrays by key. Nothing of it raises for what is wrong with the folder."""

    def __init__(self, folder: Path):
        self.folder = folder

    def files(self, key: str) -> tuple[Path, Path]:
        return self.folder / f"{key}.npy", self.folder / f"{key}.json"

    def find(self, key: str) -> np.ndarray | None:
        """The array of an entry that is whole, which is now the one used last; None: there is none."""
        path, manifest = self.files(key)
        with suppress(OSError, InputError, ValueError):
            if manifest.is_file() and path.is_file() and read_json(manifest) == describe(path):
                os.utime(manifest)
                return np.load(path, allow_pickle=False)
        return None

    def add(self, key: str, array: np.ndarray) -> None:
        """Make an entry, and drop those that were used least recently."""
        path, manifest = self.files(key)
        if array.nbytes > MOST_BYTES:
            return
        with suppress(OSError, InputError):
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with temporary(path) as unfinished:
                with open(unfinished, "wb") as file:
                    np.save(file, array, allow_pickle=False)
                about = describe(unfinished)
                os.replace(unfinished, path)
            write_json(manifest, about)
            self.clean()

    def clean(self) -> None:
        """Hold the folder below MOST_BYTES; files that have other names than this cache's are not touched."""
        used: dict[str, float] = {}
        sizes: dict[str, int] = {}
        for path in self.folder.iterdir():
            key = path.name.lstrip(".").partition(".")[0]
            if len(key) != 64 or not set(key) <= set("0123456789abcdef"):
                continue
            with suppress(FileNotFoundError):  # another process cleans, too
                state = path.stat()
                if path.suffix == ".tmp":
                    if time.time() - state.st_mtime > STALE_SECONDS:
                        path.unlink()
                else:
                    used[key] = max(used.get(key, 0), state.st_mtime)
                    sizes[key] = sizes.get(key, 0) + state.st_size
        total = sum(sizes.values())
        for key in sorted(used, key=used.__getitem__):
            if total <= MOST_BYTES:
                return
            for path in reversed(self.files(key)):  # the manifest first
                path.unlink(missing_ok=True)
            total -= sizes[key]


def describe(path: Path) -> dict[str, Any]:
    """What a manifest says of a file."""
    return {"size": path.stat().st_size, "sha256": sha256(path)}


@contextmanager
def temporary(path: Path) -> Iterator[Path]:
    """A name beside `path`, of this process, under which no file is left."""
    name = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield name
    finally:
        name.unlink(missing_ok=True)


def open_cache() -> TokenCache | None:
    """This user's; None where it is off, or there is no home."""
    named = os.environ.get(VARIABLE)
    if named is not None:
        return None if named.lower() in ("off", "") else TokenCache(Path(os.path.expanduser(named)))
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):  # XDG Base Directory Specification 0.8: such a path is ignored
        base = os.path.expanduser("~/.cache")
    return TokenCache(Path(base) / "competition-recipes" / "tokens") if os.path.isabs(base) else None


def key_of(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, how: dict[str, bool]) -> str | None:
    """The entry's name; None for tokenizers that are Python code, or random: their files do not say what they do.

    One of the package tokenizers is its serialized self, added tokens included, and the setting in Python that a call
    reads. What it keeps of truncation and padding is of the call before.
    """
    if not isinstance(tokenizer, TokenizersBackend) or not type(tokenizer).__module__.startswith("transformers."):
        return None
    tokenizer("", add_special_tokens=False)  # no truncation, no padding, so that the serialized text has none
    content = tokenizer.backend_tokenizer.to_str()
    if DROPOUT.search(content):
        return None
    versions = [version(name) for name in PACKAGES]
    settings = [FORMAT, versions, type(tokenizer).__name__, tokenizer.split_special_tokens, how]
    digest = hashlib.sha256()
    for part in (repr(settings), content, *texts):
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little"))  # so that no two lists of texts read as one
        digest.update(data)
    return digest.hexdigest()
