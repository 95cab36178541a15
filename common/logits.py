"""Logits with their row ids: saved without pickle, aligned by id, averaged."""

import zipfile
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from common.console import InputError
from common.files import atomic_write
from common.guards.bombs import check_npz
from common.guards.special import refuse_special
from common.guards.spelling import nfc
from common.targets import Classes, as_target, target_of


@dataclass
class Logits:
    """What a model says about N rows.

    ids: unicode (N,); logits: float32 (N, C); labels: int64 (N,), -1 where unknown; label_names: C strings, of classes
    (of other targets see common/targets). Raises InputError where the shapes disagree, a label is outside -1..C-1 or a
    logit is not finite.
    """

    ids: np.ndarray
    logits: np.ndarray
    labels: np.ndarray
    label_names: Classes

    def __post_init__(self) -> None:
        self.ids = np.asarray(self.ids, dtype=str)
        self.logits = np.asarray(self.logits, dtype=np.float32)
        self.label_names = as_target(self.label_names)
        self.labels = self.label_names.array(self.labels)
        n = len(self.ids)
        c = len(self.label_names)
        if self.ids.shape != (n,) or self.logits.shape != (n, c) or len(self.labels) != n:
            shapes = f"ids {self.ids.shape}, logits {self.logits.shape}, labels {self.labels.shape}, {c} label names"
            raise InputError(f"shapes disagree: {shapes}; expected (N,), (N, C), (N,), C")
        if (bad := ~np.isfinite(self.logits).all(axis=1)).any():
            what = "logits that are not finite (training diverged?)"
            raise InputError(f"{bad.sum()} of {n} rows have {what}, first: id {str(self.ids[bad.argmax()])!r}")

    @classmethod
    def load(cls, path: str | Path) -> "Logits":
        """Read what `save` wrote. Raises InputError that names the file where it is something else."""
        refuse_special(path)
        try:
            check_npz(path)
            with np.load(path, allow_pickle=False) as arrays:
                fields = {name: arrays[name] for name in cls.__dataclass_fields__}
                kind = str(arrays["kind"]) if "kind" in arrays else Classes.kind
                return cls(**fields | {"label_names": target_of(fields["label_names"].tolist(), kind)})
        except InputError as error:
            raise InputError(str(error) if str(path) in str(error) else f"{path}: {error}") from error
        except FileNotFoundError as error:
            raise InputError(f"{path}: does not exist, expected a logits file (.npz) of a run") from error
        # the ways in which np.load meets a .npy, a pickle, a text, an empty or cut file, and an npz of other arrays
        except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            expected = ", ".join(cls.__dataclass_fields__)
            raise InputError(f"{path}: is not a logits file, expected an npz with {expected}") from error

    def save(self, path: str | Path) -> None:
        """Write an npz with one array per field, atomically; the label names as unicode (C,), and the kind of a target
        that is no Classes."""
        kind = self.label_names.kind
        kinds = {} if kind == Classes.kind else {"kind": np.array(kind)}
        names = {"label_names": np.array(self.label_names, dtype=str)}
        with atomic_write(path, "wb") as file:
            np.savez_compressed(file, **vars(self) | names, **kinds)

    def reorder(self, ids: Sequence[str]) -> "Logits":
        """The rows in the order of `ids` (N,), by NFC. Raises InputError for a missing, extra or repeated one."""
        wanted = Counter(map(nfc, np.asarray(ids, dtype=str).tolist()))
        present = Counter(map(nfc, self.ids.tolist()))
        problems = {
            "missing": [row_id for row_id in wanted if row_id not in present],
            "extra": [row_id for row_id in present if row_id not in wanted],
            "repeated": [row_id for row_id, count in (wanted | present).items() if count > 1],
        }
        found = [f"{len(rows)} {what} (first: {rows[0]!r})" for what, rows in problems.items() if rows]
        if found:
            raise InputError(f"ids do not match, expected the same {len(wanted)} ids once each: {', '.join(found)}")
        position = {row_id: row for row, row_id in enumerate(present)}
        rows = np.array([position[row_id] for row_id in wanted], dtype=np.int64)
        return replace(self, ids=self.ids[rows], logits=self.logits[rows], labels=self.labels[rows])

    def probabilities(self) -> np.ndarray:
        """Of each class, float64 (N, C)."""
        return self.label_names.probabilities(self.logits)


def average(parts: Sequence[Logits], weights: Sequence[float] | None = None) -> Logits:
    """Weighted mean of the logits of several models on the same rows, in the order, and with the labels, of the first.

    weights: one per part, equal by default; they are divided by their sum.
    Raises InputError where ids or label names differ, and for a wrong number of weights or a sum that is not above 0.
    """
    weights = np.ones(len(parts)) if weights is None else np.asarray(weights, dtype=np.float64)
    if len(weights) != len(parts):
        raise InputError(f"{len(weights)} weights for {len(parts)} sets of logits, expected one weight each")
    if not 0 < weights.sum() < np.inf:
        raise InputError(f"weights {weights.tolist()} sum to {weights.sum():g}, expected a number above 0")
    check_label_names(parts)
    first = parts[0]
    total = sum(
        weight * part.reorder(first.ids).logits.astype(np.float64) for weight, part in zip(weights, parts, strict=True)
    )
    return replace(first, logits=total / weights.sum())


def concatenate(parts: Sequence[Logits], ids: Sequence[str]) -> Logits:
    """Disjoint parts (the held-out rows of each fold) in the order of `ids`, each exactly once, else InputError."""
    check_label_names(parts)
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in ("ids", "logits", "labels")}
    return Logits(**joined, label_names=parts[0].label_names).reorder(ids)


def check_label_names(parts: Sequence[Logits]) -> None:
    """Raise InputError where a part's label names are not those of the first, in the same order."""
    for number, part in enumerate(parts[1:], start=2):
        if part.label_names != parts[0].label_names or part.label_names.kind != parts[0].label_names.kind:
            raise InputError(
                f"label names of part {number} are {part.label_names}, expected those of part 1, {parts[0].label_names}"
            )
