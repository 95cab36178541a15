"""The submission of a blend: the runs' stored test logits in the task's own format."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType

import numpy as np

from common.blend.decision import to_scores
from common.blend.runs import Runs, calibrated, note_other_file, sha256_of_run
from common.console import InputError, print_once
from common.examples import TextExample
from common.files import read_yaml
from common.logits import Logits
from common.submission import Submission, SubmissionFormat
from common.tables.answers import follows_decision
from common.tables.long_rows import LongFormat


@dataclass(frozen=True)
class TunedFormat(SubmissionFormat):
    """A format whose labels are those with offsets (C,) added to what to_scores() gives; its probabilities are as they
    were."""

    offsets: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def cells(self, logits: Logits) -> dict[str, Sequence]:
        cells = super().cells(logits)
        shifted = super().cells(decided(logits, self.offsets))
        return {**cells, **{name: shifted[name] for name in self.tuned_columns(logits.label_names)}}

    def tuned_columns(self, label_names: Sequence[str]) -> list[str]:
        """The columns that hold what is decided."""
        columns = {name: function for name, function in self.columns.items() if follows_decision(function)}
        return SubmissionFormat(None, columns).column_names(label_names)


@dataclass(frozen=True)
class TunedLongFormat(LongFormat):
    """The same of a row for each label."""

    offsets: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def values(self, logits: Logits) -> dict[str, Sequence[Sequence]]:
        shifted = super().values(decided(logits, self.offsets))
        tuned = {name: cells for name, cells in shifted.items() if follows_decision(self.columns[name])}
        return {**super().values(logits), **tuned}


def decided(logits: Logits, offsets: np.ndarray) -> Logits:
    """With offsets (C,) added to what to_scores() gives."""
    return replace(logits, logits=to_scores(logits.logits, logits.labels) + offsets)


@dataclass(frozen=True)
class BlendSubmission:
    """Where the blend's test logits go; None where the runs have none."""

    submission: Submission | None

    def write(self, path: Path, logits: Logits, offsets: np.ndarray) -> None:
        """Write it, check it. Raises InputError as Submission.write() does."""
        form = self.submission.format
        if offsets.any() and not any(map(follows_decision, form.columns.values())):
            print_once("the submission has no column of labels: the tuned decision changes nothing in it")
        if offsets.any() and isinstance(form, LongFormat):
            form = TunedLongFormat(form.id_column, form.columns, form.label_column, offsets)
        elif offsets.any():
            form = TunedFormat(form.id_column, form.columns, offsets)
        replace(self.submission, format=form).write(path, logits)


def test_logits(paths: Sequence[Path], runs: Runs) -> list[Logits]:
    """The runs' test logits in the order of the first run's rows; none where no run has any. Raises InputError where
    only some have them, or for other rows."""
    files = [path / "test_logits.npz" for path in paths]
    if not any(file.exists() for file in files):
        print_once("the runs have no test_logits.npz: no submission is written")
        return []
    parts = []
    for path, file in zip(paths, files, strict=True):
        if not file.exists():
            raise InputError(f"{path}: has no test_logits.npz, other runs have; predict the test file with all of them")
        part = calibrated(Logits.load(file), path)
        if part.label_names != runs.logits[0].label_names:
            raise InputError(f"{file}: its labels are others than those of the training rows")
        try:
            parts.append(part.reorder(parts[0].ids) if parts else part)
        except InputError as error:
            raise InputError(f"{file}: has other rows than {files[0]} ({error})") from error
        note_other_file(path, "test_file", sha256_of_run(paths[0], "test_file"), f"that of {paths[0]}")
    return parts


def expect_submission(
    data: ModuleType, paths: Sequence[Path], tests: Sequence[Logits], sample: Path | None
) -> BlendSubmission:
    """What to write, found out before anything is. Raises InputError for a sample that does not fit."""
    if not tests:
        if sample is not None:
            raise InputError(f"{sample}: the runs have no test_logits.npz that could be written in its order")
        return BlendSubmission(None)
    form = format_of(data, read_yaml(paths[0] / "config.yaml"), tests[0])
    return BlendSubmission(form.fit(sample and str(sample), tests[0].ids.tolist(), tests[0].label_names))


def format_of(data: ModuleType, config: dict, logits: Logits) -> SubmissionFormat:
    """The format that a task's data.py declares: SUBMISSION; or SUBMISSIONS, by the run's submission_format; or
    submission_format(), which looks at the rows' ids."""
    declared = vars(data)
    if "SUBMISSIONS" in declared:
        return declared["SUBMISSIONS"][config["submission_format"]]
    if "submission_format" in declared:
        return declared["submission_format"]([TextExample(row_id, []) for row_id in logits.ids.tolist()])
    return declared["SUBMISSION"]
