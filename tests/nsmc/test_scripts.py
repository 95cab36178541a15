"""nsmc/train.py and nsmc/predict.py as a user runs them, each case in a folder of its own, one CPU thread."""

import csv
import shutil
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file

from common.files import read_json
from common.logits import Logits
from common.submission import check_submission
from nsmc.data import read_examples
from tests.tools.scripts import ROOT, help_without_torch, launch, predict, succeed, worker_of

NSMC = ROOT / "nsmc"
SAMPLE = NSMC / "sample"
DEMO = ["--config", NSMC / "configs" / "demo.yaml"]
QUIET = ["--torch_num_threads", "1", "--disable_tqdm", "true"]
SHORT = [*QUIET, "--num_train_epochs", "1", "--eval_strategy", "no", "--save_strategy", "no"]


worker = worker_of(NSMC)


@pytest.fixture(scope="module")
def demo(worker, tmp_path_factory):
    """train.py without an option, from another folder."""
    folder = tmp_path_factory.mktemp("demo")
    succeed(worker, folder, "train.py", *QUIET)
    return folder / "runs" / "nsmc" / "demo"


# The demo


def test_the_demo_fills_the_default_run_folder_and_learns_ten_points_more_than_the_majority(demo):
    files = {path.relative_to(demo).as_posix() for path in demo.rglob("*") if path.is_file()}
    assert {
        "config.yaml", "run.json", "metrics.json", "oof_logits.npz", "test_logits.npz", "submission.csv", "report.md",
        *(f"fold{k}/{name}" for k in range(3) for name in ("config.json", "model.safetensors", "tokenizer.json", "fold.json", "README.md")),
    } <= files  # fmt: skip
    assert read_json(demo / "run.json")["status"] == "done"
    oof = Logits.load(demo / "oof_logits.npz")
    reviews = read_examples(SAMPLE / "train.txt", {})
    assert oof.ids.tolist() == [review.id for review in reviews]
    assert oof.labels.tolist() == [review.label for review in reviews]
    accuracy = (oof.logits.argmax(1) == oof.labels).mean()
    assert read_json(demo / "metrics.json")["oof"]["accuracy"] == pytest.approx(accuracy)
    assert accuracy >= 0.60


def test_the_submission_has_the_competitions_format_and_holds_the_argmax_of_the_logits(demo):
    check_submission(demo / "submission.csv", SAMPLE / "sample_submission.csv", label_names=["0", "1"])
    test = Logits.load(demo / "test_logits.npz")
    header, *rows = csv.reader((demo / "submission.csv").read_text().splitlines())
    assert header == ["Id", "Predicted"]
    assert rows == [[row_id, str(k)] for row_id, k in zip(test.ids.tolist(), test.logits.argmax(1), strict=True)]


def test_a_fold_folder_says_the_labels_and_the_preprocessing(demo):
    config = read_json(demo / "fold0" / "config.json")
    assert config["id2label"] == {"0": "0", "1": "1"}
    assert set(config["preprocessing"]) == {"prompt_template", "max_length"}


# Prediction


@pytest.mark.parametrize("encoding", ["utf-8", "cp949"])
def test_predict_gives_the_runs_own_submission_from_either_encoding_and_says_which(worker, demo, tmp_path, encoding):
    (tmp_path / "ko_data.csv").write_text((SAMPLE / "test.csv").read_text(encoding="utf-8"), encoding=encoding)
    got = predict(
        worker,
        tmp_path,
        "--run_dir",
        demo,
        "--test_file",
        "ko_data.csv",
        "--sample_submission_file",
        SAMPLE / "sample_submission.csv",
    )
    own = Logits.load(demo / "test_logits.npz")
    assert got.ids.tolist() == own.ids.tolist()
    assert np.abs(got.logits - own.logits).max() < 1e-5
    assert (tmp_path / "s.csv").read_bytes() == (demo / "submission.csv").read_bytes()
    assert f"ko_data.csv: 80 rows, {'cp949' if encoding == 'cp949' else 'UTF-8'}\n" in worker.printed
    assert not (tmp_path / "s.metrics.json").exists()


def test_reviews_that_the_models_were_trained_on_get_their_labels_through_the_kaggle_files_layout(
    worker, demo, tmp_path
):
    reviews = read_examples(SAMPLE / "train.txt", {})
    with open(tmp_path / "ko_data.csv", "w", encoding="cp949", newline="") as file:
        csv.writer(file).writerows(
            [("Id", "Sentence"), *((i, review.segments[0]) for i, review in enumerate(reversed(reviews)))]
        )
    predict(worker, tmp_path, "--run_dir", demo, "--test_file", "ko_data.csv")
    given = [row[1] for row in csv.reader((tmp_path / "s.csv").read_text().splitlines())][1:]
    assert np.mean([int(label) == review.label for label, review in zip(given, reversed(reviews), strict=True)]) > 0.9


def test_a_labelled_file_gives_metrics_and_an_empty_text_gets_a_prediction(worker, demo, tmp_path):
    rows = (SAMPLE / "train.txt").read_text(encoding="utf-8").splitlines()
    (tmp_path / "t.txt").write_text("\n".join([*rows[:41], "empty\t\t1"]) + "\n", encoding="utf-8")
    got = predict(worker, tmp_path, "--run_dir", demo, "--test_file", "t.txt")
    assert got.ids.tolist() == [*(row.split("\t")[0] for row in rows[1:41]), "empty"]
    assert "t.txt: 41 rows, UTF-8, 1 of them with an empty text" in worker.printed
    metrics = read_json(tmp_path / "s.metrics.json")
    assert metrics["n"] == 41
    assert metrics["accuracy"] == pytest.approx((got.logits.argmax(1) == got.labels).mean())
    assert len((tmp_path / "s.csv").read_text().splitlines()) == 42


# Repeated texts


def test_drop_duplicates_leaves_oof_whole_and_equal_texts_never_meet_across_folds(worker, tmp_path):
    rows = [line.split("\t") for line in (SAMPLE / "train.txt").read_text(encoding="utf-8").splitlines()[1:61]]
    rows += [[f"again{i}", rows[i][1].replace(" ", "  "), rows[i][2]] for i in range(10)]
    rows += [["against", rows[20][1], str(1 - int(rows[20][2]))], ["empty0", "", "0"], ["empty1", "", "1"]]
    (tmp_path / "t.txt").write_text(
        "".join("\t".join(row) + "\n" for row in [["id", "document", "label"], *rows]), encoding="utf-8"
    )
    for options in ([], ["--drop_duplicates"]):
        name = "dropped" if options else "all"
        succeed(
            worker,
            tmp_path,
            "train.py",
            *DEMO,
            *SHORT,
            "--train_file",
            "t.txt",
            "--num_folds",
            "2",
            "--output_dir",
            name,
            *options,
        )
        run_dir = tmp_path / name
        assert Logits.load(run_dir / "oof_logits.npz").ids.tolist() == [row[0] for row in rows]
        held_out = [Logits.load(run_dir / f"fold{k}/held_out_logits.npz").ids.tolist() for k in range(2)]
        fold_of = {row_id: k for k, ids in enumerate(held_out) for row_id in ids}
        assert all(fold_of[f"again{i}"] == fold_of[rows[i][0]] for i in range(10))
        assert fold_of["against"] == fold_of[rows[20][0]] and fold_of["empty0"] == fold_of["empty1"]
        trained = sum(sum(read_json(run_dir / f"fold{k}/fold.json")["train_class_counts"]) for k in range(2))
        assert trained == (59 if options else 73)  # each row is in the training part of one of the two folds
        note = "drop_duplicates: 10 repeats and 4 rows of 2 texts with both labels are not trained on"
        assert (
            (note in worker.printed) == (note in (run_dir / "report.md").read_text(encoding="utf-8")) == bool(options)
        )
        assert "t.txt: 73 rows, UTF-8, 2 of them with an empty text" in worker.printed


# The competition's files, a copied folder


@pytest.mark.slow
def test_a_copied_folder_takes_the_competitions_files_from_its_own_data_folder(tmp_path):
    shutil.copytree(NSMC, tmp_path / "my_contest", ignore=shutil.ignore_patterns("data", "__pycache__"))
    data = tmp_path / "my_contest" / "data"
    data.mkdir()
    shutil.copy(SAMPLE / "train.txt", data / "ratings_train.txt")
    (data / "ko_data.csv").write_text(
        (SAMPLE / "test.csv").read_text(encoding="utf-8"), encoding="cp949", newline="\r\n"
    )
    (data / "ko_sample.csv").write_text((SAMPLE / "sample_submission.csv").read_text(), newline="\r\n")
    options = ["--model_name_or_path", "scratch", "--num_folds", "2", "--max_train_samples", "60"]
    output = launch(sys.executable, "my_contest/train.py", *SHORT, *options, cwd=tmp_path)
    assert "preset my_contest/configs/final.yaml (my_contest/data/ratings_train.txt is there)" in output
    assert "no my_contest/data/ratings_test.txt: going on without eval_file" in output
    assert "ko_data.csv: 80 rows, cp949" in output
    check_submission(tmp_path / "runs/my_contest/final/submission.csv", data / "ko_sample.csv", label_names=["0", "1"])


# Help


@pytest.mark.parametrize(("script", "option"), [("train.py", "--drop_duplicates"), ("predict.py", "--run_dir")])
def test_help_lists_the_options_without_importing_torch(script, option, tmp_path):
    assert option in help_without_torch(NSMC / script, tmp_path)


def test_frozen_word_embeddings_stay_as_they_were(worker, demo, tmp_path):
    options = [
        "--model_name_or_path",
        demo / "fold0",
        "--max_train_samples",
        "64",
        "--num_folds",
        "1",
        "--output_dir",
        "run",
    ]
    succeed(worker, tmp_path, "train.py", *DEMO, *SHORT, *options, "--freeze_word_embeddings", "--bf16")
    before, after = (load_file(folder / "fold0" / "model.safetensors") for folder in (demo, tmp_path / "run"))
    same = {name for name in before if np.array_equal(before[name], after[name])}
    assert same == {"bert.embeddings.word_embeddings.weight"}
