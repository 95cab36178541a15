"""Bad input of nsmc/train.py and nsmc/predict.py: one sentence that names the place, and nothing is written.

What friends/ and nsmc/ share (presets, options, run folders) is tested in tests/friends/test_bad_input.py.
"""

import json
import shutil
import subprocess
import sys

import pytest

from nsmc import data
from tests.tools.refusals import assert_refused_here, read_and_split
from tests.tools.scripts import ENVIRONMENT, ROOT, assert_refused, worker_of

NSMC = ROOT / "nsmc"
SAMPLE = NSMC / "sample"
TRAIN, TEST, SUBMISSION = (str(SAMPLE / name) for name in ("train.txt", "test.csv", "sample_submission.csv"))
SMALL = ["--max_train_samples", "40", "--num_train_epochs", "1", "--num_folds", "1", "--output_dir", "run"]
DEMO = ["--config", str(NSMC / "configs" / "demo.yaml"), *SMALL]


worker = worker_of(NSMC)


@pytest.fixture
def refused(tmp_path, monkeypatch):
    """Asserts that train.py refuses options in tmp_path with a sentence that holds the fragments."""
    return lambda argv, fragments: assert_refused_here(
        lambda: read_and_split(data, "nsmc", argv), tmp_path, monkeypatch, fragments
    )


@pytest.fixture(scope="module")
def trained(worker, tmp_path_factory):
    """A folder with run/: one fold of the demo, an epoch on 40 rows of train.txt, a copy of the sample's."""
    folder = tmp_path_factory.mktemp("trained")
    shutil.copy(TRAIN, folder / "train.txt")
    code, errors = worker.run(folder, "train.py", *DEMO, "--train_file", "train.txt")
    assert code == 0, errors
    return folder


# Data files: each is written as it stands and given as train_file.

HEADER = "id\tdocument\tlabel"
ROWS = ["1\t재밌다\t1", "2\t별로다\t0", "3\t최고\t1"]


def tsv(*rows: str, header: str = HEADER) -> str:
    return "\n".join([header, *rows]) + "\n"


GOOD = tsv(*ROWS)
DATA_FILES = {
    # id: (file name, content, fragments of the message)
    "empty-file": ("train.txt", "", ["train.txt", "empty"]),
    "white-space-only": ("train.txt", " \n\t\n", ["train.txt", "empty"]),
    "byte-order-mark-only": ("train.txt", b"\xef\xbb\xbf", ["train.txt", "empty"]),
    "header-only": ("train.txt", tsv(), ["train.txt", "no rows"]),
    "no-header": ("train.txt", "\n".join(ROWS), ["train.txt, row 1", "1,재밌다,1", "id,document", "label"]),
    "wrong-columns": (
        "train.txt",
        tsv(*ROWS, header="id\ttext\tlabel"),
        ["train.txt, row 1", "id,text,label", "id,document"],
    ),
    "columns-in-other-order": (
        "train.txt",
        tsv(header="document\tid\tlabel"),
        ["train.txt, row 1", "document,id,label"],
    ),
    "fourth-column": ("train.txt", tsv(header=HEADER + "\tscore"), ["train.txt, row 1", "id,document,label,score"]),
    "comma-in-a-comma-separated-copy": (
        "train.csv",
        "id,document,label\n1,별로, 정말,0\n",
        ["train.csv, row 2", "4 fields", "expected 3"],
    ),
    "columns-separated-by-spaces": ("train.txt", GOOD.replace("\t", "    "), ["train.txt, row 1", "tabs"]),
    "columns-of-the-sample-submission": (
        "train.csv",
        "Id,Predicted\n0,0\n",
        ["train.csv, row 1", "Id,Predicted", "Id,Sentence"],
    ),
    "json": ("train.json", json.dumps([{"document": "재밌다", "label": 1}]), ["train.json, row 1", "id,document"]),
    "one-tab-too-many": ("train.txt", tsv(ROWS[0], "2\t별\t로다\t0"), ["train.txt, row 3", "4 fields", "expected 3"]),
    "one-tab-too-few": ("train.txt", tsv(ROWS[0], "2\t별로다 0"), ["train.txt, row 3", "2 fields", "expected 3"]),
    "no-tab": ("train.txt", tsv(*ROWS, "끝"), ["train.txt, row 5", "1 fields", "expected 3"]),
    "white-space-row": ("train.txt", tsv(*ROWS, "  "), ["train.txt, row 5", "1 fields", "expected 3"]),
    "document-over-two-lines": (
        "train.txt",
        tsv(ROWS[0], '2\t"별로', '다"\t0'),
        ["train.txt, row 3", "2 fields", "expected 3"],
    ),
    "tabs-only": ("train.txt", tsv(ROWS[0], "\t\t"), ["train.txt, row 3, column id", "empty"]),
    "empty-id": ("train.txt", tsv(ROWS[0], " \t별로다\t0"), ["train.txt, row 3, column id", "empty"]),
    "repeated-id": ("train.txt", tsv(*ROWS, "2\t또\t0"), ["train.txt, row 5, column id", "'2'", "row 3"]),
    "label-2": ("train.txt", tsv(ROWS[0], "2\t그저\t2"), ["train.txt, row 3, column label", "'2'", "0, 1"]),
    "label-missing": ("train.txt", tsv(ROWS[0], "2\t그저\t"), ["train.txt, row 3, column label", "''", "0, 1"]),
    "label-a-word": ("train.txt", tsv("1\t좋다\tpositive"), ["train.txt, row 2, column label", "'positive'"]),
    "label-a-decimal": ("train.txt", tsv("1\t좋다\t1.0"), ["train.txt, row 2, column label", "'1.0'"]),
    "label-with-a-space": ("train.txt", tsv("1\t좋다\t1 "), ["train.txt, row 2, column label", "'1 '"]),
    "label-full-width": ("train.txt", tsv("1\t좋다\t１"), ["train.txt, row 2, column label", "'１'"]),
    "one-class": ("train.txt", tsv(ROWS[0], ROWS[2]), ["train.txt", "same label", "two classes"]),
    "train-file-without-labels": (
        "train.txt",
        "id\tdocument\n1\t좋다\n2\t별로\n",
        ["train.txt", "2 of 2 rows", "no label"],
    ),
    "kaggle-file-to-train-on": ("train.csv", "Id,Sentence\n0,좋다\n1,별로\n", ["train.csv", "2 of 2 rows", "no label"]),
    "one-row": ("train.txt", tsv(ROWS[0]), ["train.txt", "same label"]),
    "all-texts-the-same": ("train.txt", tsv("1\t영화\t1", "2\t영 화\t0", "3\t영화 \t1"), ["train_file", "one group"]),
    "nul-byte": ("train.txt", tsv(ROWS[0], "2\t별\0로\t0"), ["train.txt, row 3", "NUL"]),
    "nul-byte-in-cp949": ("train.txt", tsv(ROWS[0], "2\t별\0로\t0").encode("cp949"), ["train.txt, row 3", "NUL"]),
    "utf8-cut-in-a-character": ("train.txt", GOOD.encode()[:-4], ["train.txt, row 4", "UTF-8"]),
    "utf8-with-a-damaged-byte": (
        "train.txt",
        GOOD.encode().replace("별".encode(), b"\xeb\xff\x84"),
        ["train.txt, row 3", "UTF-8"],
    ),
    "neither-utf8-nor-cp949": (
        "train.txt",
        GOOD.encode("cp949").replace(b"\t0\n", b"\xff\xff\t0\n"),
        ["train.txt, row 3", "CP949"],
    ),
    "cp949-with-a-wrong-label": (
        "train.txt",
        tsv("1\t좋다\t5").encode("cp949"),
        ["train.txt, row 2, column label", "'5'"],
    ),
    "long-document": (
        "train.txt",
        tsv("1\t" + "가" * 10_001 + "\t1"),
        ["train.txt, row 2, column document", "10,001", "10,000"],
    ),
    "csv-extra-field": ("train.csv", "Id,Sentence\n0,좋다, 정말\n", ["train.csv, row 2", "3 fields", "expected 2"]),
    "csv-open-quote": ("train.csv", 'Id,Sentence\n0,좋다\n1,"별로\n2,끝\n', ["train.csv, row 3", "CSV"]),
    "csv-stray-quote": ("train.csv", 'Id,Sentence\n0,"좋다" 정말\n', ["train.csv, row 2", "CSV"]),
    "csv-repeated-id": ("train.csv", "Id,Sentence\n0,좋다\n0,별로\n", ["train.csv, row 3, column Id", "'0'", "row 2"]),
    "csv-empty-id": ("train.csv", "Id,Sentence\n,좋다\n", ["train.csv, row 2, column Id", "empty"]),
    "id-with-carriage-return": ("train.csv", 'Id,Sentence\n"0\rx",좋다\n', ["train.csv", "carriage return"]),
    "csv-header-in-small-letters": (
        "train.csv",
        "id,sentence\n0,좋다\n",
        ["train.csv, row 1", "id,sentence", "Id,Sentence"],
    ),
}


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.mark.parametrize(("name", "content", "fragments"), DATA_FILES.values(), ids=DATA_FILES)
def test_a_malformed_data_file_is_refused_at_its_place(refused, tmp_path, name, content, fragments):
    write(tmp_path / name, content)
    refused([*DEMO, "--train_file", name], fragments)


@pytest.mark.parametrize("field", ["eval_file", "test_file"])
@pytest.mark.parametrize(
    "case", ["one-tab-too-few", "label-2", "repeated-id", "header-only", "utf8-cut-in-a-character", "csv-open-quote"]
)
def test_eval_and_test_file_are_checked_before_training_as_the_train_file_is(refused, tmp_path, field, case):
    name, content, fragments = DATA_FILES[case]
    write(tmp_path / name.replace("train", field), content)
    fragments = [fragment.replace("train.", f"{field}.") for fragment in fragments]
    refused([*DEMO, f"--{field}", name.replace("train", field)], fragments)


@pytest.mark.parametrize("start", ["Id,Sentence\n0,", HEADER + "\n1\t", ""], ids=["csv", "tsv", "one-line"])
def test_a_line_of_20_megabytes_is_refused(refused, tmp_path, start):
    (tmp_path / "long.txt").write_text(start + "x" * 20_000_000 + "\t1" * start.startswith("id"))
    refused([*DEMO, "--train_file", "long.txt"], ["long.txt, row"])
    (tmp_path / "long.txt").unlink()


OPTIONS = {
    "train-file-missing": (["--train_file", "no.txt"], ["no.txt", "no such file"]),
    "train-file-a-folder": (["--train_file", "."], ["is a folder"]),
    "sample-of-another-competition": (
        ["--sample_submission_file", "other.csv"],
        ["other.csv, row 1", "Id,Expected", "Id,Predicted"],
    ),
    "sample-with-missing-ids": (["--sample_submission_file", "short.csv"], ["short.csv", "79 ids are missing"]),
    "drop-duplicates-to-one-class": (
        ["--train_file", "same.txt", "--drop_duplicates"],
        ["drop_duplicates", "two classes"],
    ),
    "drop-duplicates-not-a-bool": (["--drop_duplicates", "perhaps"], ["drop_duplicates", "perhaps"]),
    "option-of-friends": (["--context", "current"], ["--context", "not an option"]),
    "preset-with-a-key-of-friends": (["--config", "friends.yaml"], ["friends.yaml, key speaker_format", "not a field"]),
    "hub-out-of-reach": (
        ["--config", str(NSMC / "configs" / "best.yaml"), "--train_file", TRAIN],
        ["KcELECTRA", "folder"],
    ),
}


@pytest.mark.parametrize(("argv", "fragments"), OPTIONS.values(), ids=OPTIONS)
def test_an_option_that_cannot_be_used_is_refused_by_name(worker, tmp_path, argv, fragments):
    (tmp_path / "other.csv").write_text("Id,Expected\n0,joy\n")
    (tmp_path / "short.csv").write_text("Id,Predicted\n0,0\n")
    (tmp_path / "friends.yaml").write_text("speaker_format: colon\n")
    write(tmp_path / "same.txt", tsv("1\t좋다\t1", "2\t싫다\t0", "3\t싫다\t1", "4\t최고\t1", "5\t멋짐\t1"))
    assert_refused(worker, tmp_path, "train.py", [*DEMO, *argv], fragments)


@pytest.mark.slow
def test_final_without_the_competitions_files_ends_with_2_and_says_what_to_put_where_and_what_runs(tmp_path):
    shutil.copytree(NSMC, tmp_path / "copy", ignore=shutil.ignore_patterns("data", "__pycache__"))
    command = [sys.executable, "copy/train.py", "--config", "copy/configs/final.yaml"]
    result = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    lines = result.stderr.splitlines()
    assert result.returncode == 2, result.stderr
    assert [line for line in lines if line.startswith("error: ")] == lines[-1:] and "Traceback" not in result.stderr
    for fragment in (
        "copy/data/ratings_train.txt: no such file",
        "copy/README.md",
        "python copy/train.py --config copy/configs/demo.yaml",
    ):
        assert fragment in lines[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


# Prediction

PREDICT = {
    "test-file-missing": (["--test_file", "no.csv"], ["no.csv", "no such file"]),
    "test-file-malformed": (["--test_file", "bad.txt"], ["bad.txt, row 3", "1 fields", "expected 3"]),
    "test-file-damaged": (["--test_file", "cut.csv"], ["cut.csv, row 81", "UTF-8"]),
    "test-file-of-friends": (
        ["--test_file", str(ROOT / "friends/sample/test.csv")],
        ["test.csv, row 1", "i_dialog", "Id,Sentence"],
    ),
    "sample-of-another-test": (
        ["--test_file", TRAIN, "--sample_submission_file", SUBMISSION],
        ["row 2, column Id", "'0'"],
    ),
    "sample-with-other-columns": (
        ["--test_file", TEST, "--sample_submission_file", TEST],
        ["row 1", "Id,Sentence", "Id,Predicted"],
    ),
}


@pytest.mark.parametrize(("argv", "fragments"), PREDICT.values(), ids=PREDICT)
def test_predict_refuses_what_it_cannot_read_and_leaves_the_run_as_it_is(worker, trained, argv, fragments):
    write(trained / "bad.txt", tsv(ROWS[0], "2 별로다 0"))
    with open(TEST, "rb") as file:
        write(trained / "cut.csv", file.read().rstrip(b"\n")[:-1])
    assert_refused(worker, trained, "predict.py", ["--run_dir", "run", *argv], fragments)
