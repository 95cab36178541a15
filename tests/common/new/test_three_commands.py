"""From a contest's files to a checked submission: three commands and no edited line."""

import csv

import numpy as np
import pytest

from common.logits import Logits
from tests.tools.scripts import ROOT, Worker, succeed

ONE_THREAD = ["--torch_num_threads", "1"]
SMALL = "--model_name_or_path scratch --num_folds 2 --num_train_epochs 12 --learning_rate 2e-3 --disable_tqdm true"
WORDS = {"cash": "win prize money", "sport": "ball goal team", "art": "paint song stage"}


@pytest.fixture
def worker(tmp_path):
    return Worker(tmp_path)


def write(path, header, rows):
    with open(path, "w", encoding="utf-16", newline="") as file:
        csv.writer(file, delimiter=";").writerows([header, *rows])


@pytest.mark.slow
def test_a_contest_of_several_labels_in_semicolons_and_utf16(worker, tmp_path):
    random = np.random.default_rng(0)
    rows = []
    for number in range(80):
        names = sorted(random.choice(list(WORDS), 1 + number % 2, replace=False))
        words = [str(random.choice(WORDS[name].split())) for name in names for _ in range(3)]
        rows.append((f"{number:04}", f"{' '.join(words)} number {number}", ",".join(names)))
    write(tmp_path / "train.csv", ["id", "text", "labels"], rows)
    write(tmp_path / "test.csv", ["id", "text"], [(f"t{row[0]}", row[1]) for row in rows[:20]])
    ids = [f"t{rows[number][0]}" for number in random.permutation(20)]
    (tmp_path / "sample.csv").write_text("id,labels\n" + "".join(f'{row_id},"[""art""]"\n' for row_id in ids))

    module = ROOT / "common"
    files = "--train train.csv --test test.csv --sample sample.csv"
    succeed(worker, tmp_path, module / "new" / "__main__.py", "contest", "--from", "friends", *files.split())
    assert "train.csv: UTF-16, separated by semicolons" in worker.printed
    assert "target: several" in worker.printed
    final = tmp_path / "runs" / "contest" / "final"
    succeed(worker, tmp_path, "contest/train.py", *SMALL.split(), *ONE_THREAD, "--per_device_train_batch_size", "8")
    labels = ["--labels", "art,cash,sport", "--lists"]
    submission = [str(final / "submission.csv"), "contest/data/sample.csv"]
    succeed(worker, tmp_path, module / "submission.py", *submission, *labels)

    assert Logits.load(final / "oof_logits.npz").labels.sum(axis=0).tolist() == [
        sum(name in row[2] for row in rows) for name in sorted(WORDS)
    ]
    given = dict(list(csv.reader((final / "submission.csv").read_text().splitlines()))[1:])
    assert list(given) == ids
    right = {f"t{row[0]}": "[" + ", ".join(f'"{name}"' for name in row[2].split(",")) + "]" for row in rows[:20]}
    assert sum(given[row_id] == right[row_id] for row_id in ids) >= 15
