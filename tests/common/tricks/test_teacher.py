"""Soft labels and pseudo-labels: the loss, what is refused, and a run of friends' sample with both."""

import json
import shutil
from types import SimpleNamespace

import datasets
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from common.console import InputError
from common.examples import TextExample
from common.files import sha256
from common.folds import Fold
from common.logits import Logits
from common.targets import Ordered, SeveralLabels
from common.tricks.pseudo import add_pseudo_rows, check_pseudo, read_pseudo
from common.tricks.teacher import (
    SoftRows,
    check_soft_labels,
    check_teachers,
    mixed_losses,
    soft_rows,
    taught,
    teacher_labels,
)
from tests.common.blend.test_blend import make_run
from tests.tools.scripts import ROOT, succeed, worker_of

SAMPLE = ROOT / "friends" / "sample"
LABELS = ["0", "1"]
worker = worker_of(ROOT / "friends")


def test_the_loss_is_hintons_and_its_gradient_keeps_its_size_at_any_temperature():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 4, generator=generator).requires_grad_()
    teacher = torch.randn(5, 4, generator=generator)
    hard = F.cross_entropy(logits, torch.arange(5) % 4, reduction="none")
    soft = torch.cat([torch.full((5, 1), 0.3), torch.full((5, 1), 2.0), teacher], dim=1)
    expected = 0.7 * hard + 0.3 * 4 * F.cross_entropy(logits / 2, (teacher / 2).softmax(1), reduction="none")
    assert torch.allclose(mixed_losses(hard, logits, soft), expected)
    # Hinton et al. 2015, eq. 4: for large T and logits of mean 0 the gradient is (z - v) / C, whatever T is
    centred = [part - part.mean(1, keepdim=True) for part in (logits.detach(), teacher)]
    for temperature in (50.0, 500.0):
        soft[:, 0], soft[:, 1] = 1.0, temperature
        (gradient,) = torch.autograd.grad(mixed_losses(hard.detach(), logits, soft).sum(), logits)
        assert torch.allclose(gradient, (centred[0] - centred[1]) / 4, atol=0.03)


def test_a_row_without_a_soft_label_has_the_loss_of_its_label():
    hard = torch.tensor([1.0, 2.0])
    soft = soft_rows(["a", "b"], {"b": np.array([1, 1, 0, 0], dtype=np.float32)}, 2)
    losses = mixed_losses(hard, torch.zeros(2, 2), soft)
    assert losses.tolist() == pytest.approx([1.0, np.log(2)])


class Base:
    """What taught() needs of a FoldTrainer."""

    class_names = LABELS

    def compute_loss(self, model, inputs, passes=1):
        assert set(inputs) == {"labels"}
        labels = inputs["labels"].repeat(passes)
        return self.row_losses(torch.zeros(len(labels), 2), labels)

    def row_losses(self, logits, labels):
        return F.cross_entropy(logits, labels, reduction="none")


def test_each_pass_of_r_drop_and_of_an_attack_has_the_soft_labels_of_its_own_rows():
    trainer = taught(Base, {})()
    inputs = {"labels": torch.tensor([0, 1]), "soft": torch.tensor([[1.0, 1, 0, 0], [0.0, 1, 9, 9]])}
    for _ in range(2):  # FGM gives the same inputs twice
        losses = trainer.compute_loss(None, inputs, passes=2)
        assert losses.tolist() == pytest.approx([np.log(2)] * 4) and "soft" in inputs
    inputs["soft"][0, 2:] = torch.tensor([-20.0, 20.0])
    assert trainer.compute_loss(None, inputs, passes=2).shape == (4,)


@pytest.fixture
def teacher(tmp_path):
    labels = np.arange(30) % 2
    logits = np.random.default_rng(0).normal(size=(30, 2))
    return make_run(tmp_path / "teacher", "nsmc", labels, logits)


def rows(labels=None, ids=None):
    labels = np.arange(30) % 2 if labels is None else labels
    ids = [f"r{i}" for i in range(30)] if ids is None else ids
    return [TextExample(row_id, [f"text {row_id}"], int(label)) for row_id, label in zip(ids, labels, strict=True)]


def splits_of(folds):
    return [(np.flatnonzero(folds != k), np.flatnonzero(folds == k)) for k in np.unique(folds)]


def test_a_teacher_of_other_folds_rows_or_labels_is_refused_by_name(teacher):
    args = SimpleNamespace(
        num_folds=3, teacher_logits="out_of_fold", teacher=[str(teacher)], teacher_weight=0.5, temperature=2.0
    )
    same = splits_of(np.arange(30) % 3)
    check_teachers(args, rows(), same, LABELS)
    check_teachers(args, rows(), same[::-1], LABELS)  # the numbers of the folds do not matter
    check_teachers(args, rows(), [(np.arange(30), None)], LABELS)  # an eval_file is measured
    for examples, splits, names, sentence in [
        (rows(), splits_of(np.arange(30) % 5), LABELS, "none of its folds held out just the rows that fold 0"),
        (rows(), same[:1] + [(np.arange(29), np.array([29]))], LABELS, "fold 1"),
        (rows(ids=[f"x{i}" for i in range(30)]), same, LABELS, "says nothing of 30 rows"),
        (rows(labels=np.arange(30) // 3 % 2), same, LABELS, "had another label in it"),
        (rows(), same, ["no", "yes"], "its labels are"),
    ]:
        with pytest.raises(InputError, match=sentence):
            check_teachers(args, examples, splits, names)
    (teacher / "oof_logits.npz").unlink()
    with pytest.raises(InputError, match="num_folds of 2 or more"):
        check_teachers(args, rows(), same, LABELS)


def test_several_teachers_are_averaged_by_id(teacher, tmp_path):
    labels = np.arange(30) % 2
    first = Logits.load(teacher / "oof_logits.npz")
    turned = np.arange(30)[::-1]
    ids = first.ids[turned]
    other = make_run(tmp_path / "other", "nsmc", labels[turned], -first.logits[turned], ids=ids, folds=turned % 3)
    args = SimpleNamespace(
        num_folds=3,
        teacher_logits="out_of_fold",
        teacher=[str(teacher), str(other)],
        teacher_weight=0.25,
        temperature=3.0,
    )
    soft = teacher_labels(args, 0)
    assert np.allclose(np.stack(list(soft.values())), [[0.25, 3, 0, 0]] * 30)


def test_rows_of_a_loop_without_the_trainer_carry_their_soft_labels():
    data = [{"labels": 0}, {"labels": 1}]
    soft = SoftRows(data, ["b", "a"], {"a": np.array([1, 1, 5, 6], dtype=np.float32)}, 2)
    assert len(soft) == 2 and soft[1]["soft"].tolist() == [1, 1, 5, 6] and soft[0]["soft"].tolist() == [0, 1, 0, 0]


def pseudo_args(run, **changes):
    values = {
        "pseudo_file": "F",
        "pseudo_run": str(run),
        "pseudo_min_probability": 0.9,
        "pseudo_soft": False,
        "num_folds": 3,
    }
    return SimpleNamespace(**{**values, **changes})


def test_copies_of_training_texts_are_left_out_and_counted(capsys):
    train = rows()
    copies = [TextExample("0", ["TEXT  r3"], 1), TextExample("1", ["text new"], 1)]
    (left,) = read_pseudo(pseudo_args("run"), lambda path: copies, train)
    assert (left.id, left.label) == ("pseudo 1", -1)
    assert "1 of 2 rows are copies" in capsys.readouterr().out
    with pytest.raises(InputError, match="none is left"):
        read_pseudo(pseudo_args("run"), lambda path: copies[:1], train)


def test_a_pair_of_which_one_text_is_known_is_no_copy_but_a_line_with_another_context_is(capsys):
    pair = TextExample("0", ["question", "answer"], 0)
    new = TextExample("1", ["question", "another"], 1)
    assert [row.id for row in read_pseudo(pseudo_args("run"), lambda path: [new], [pair])] == ["pseudo 1"]
    line = TextExample("1", ["question", "another"], 1, context=True)
    with pytest.raises(InputError, match="none is left"):
        read_pseudo(pseudo_args("run"), lambda path: [line], [TextExample("0", ["question", "x"], 0, context=True)])


def give_test_logits(run):
    """Each fold says something else of its 9 test rows: fold k is sure of rows k, k + 3 and k + 6 only."""
    for k in range(3):
        logits = np.zeros((9, 2))
        logits[np.arange(9) % 3 == k, k % 2] = 10
        Logits([f"t{i}" for i in range(9)], logits, -np.ones(9), LABELS).save(run / f"fold{k}" / "test_logits.npz")


def test_a_fold_gets_the_labels_of_the_runs_own_fold_and_only_sure_ones(teacher, tmp_path, capsys):
    give_test_logits(teacher)
    pseudo = datasets.Dataset.from_dict(
        {"id": [f"pseudo t{i}" for i in range(9)], "input_ids": [[1]] * 9, "labels": [-1] * 9}
    )
    train = datasets.Dataset.from_dict({"id": ["a", "b"], "input_ids": [[2], [3]], "labels": [0, 1]})
    run = SimpleNamespace(state=SimpleNamespace(is_main_process=True))
    for soft in (False, True):
        for k in range(3):
            args = pseudo_args(teacher, pseudo_soft=soft)
            fold = Fold(run, k, tmp_path / f"fold{k}", args, None, np.arange(2), train, None, {})
            with_rows = add_pseudo_rows(fold, pseudo)
            assert with_rows.train_rows["id"][2:] == [f"pseudo t{i}" for i in range(k, 9, 3)]
            assert with_rows.train_rows["labels"][:] == [0, 1] + [k % 2] * 3
            assert len(with_rows.soft_labels) == (3 if soft else 0)
            record = json.loads((tmp_path / f"fold{k}" / "pseudo.json").read_text())
            assert record == {"rows": 9, "counts": {"0": 3 * (k % 2 == 0), "1": 3 * (k % 2)}}
    fold.args.pseudo_min_probability = 1.0
    assert add_pseudo_rows(fold, pseudo) is fold
    assert "warning: fold 2: none of 9 rows of pseudo_file reaches" in capsys.readouterr().out


def test_a_pseudo_run_of_other_folds_labels_or_rows_is_refused_by_name(teacher):
    same = splits_of(np.arange(30) % 3)
    new = [TextExample(f"pseudo t{i}", ["new"]) for i in range(9)]
    with pytest.raises(InputError, match="no such file; a run with --test_file F"):
        check_pseudo(pseudo_args(teacher), new, rows(), same, LABELS)
    give_test_logits(teacher)
    check_pseudo(pseudo_args(teacher), new, rows(), same, LABELS)
    check_pseudo(pseudo_args(teacher), new, rows(), [(np.arange(30), None)], LABELS)
    for unlabelled, splits, names, sentence in [
        (new, same[::-1], LABELS, "its fold 0 held out other rows"),  # whose model has seen these
        (new, splits_of(np.arange(30) % 5), LABELS, "held out other rows"),
        (new, same[:1], LABELS, "held back here"),
        (new, same, ["no", "yes"], "its labels are"),
        ([*new, TextExample("pseudo t9", ["new"])], same, LABELS, r"for 1 rows of F \(first: id t9\)"),
    ]:
        with pytest.raises(InputError, match=sentence):
            check_pseudo(pseudo_args(teacher), unlabelled, rows(), splits, names)


SMALL = ["--torch_num_threads", "1", "--disable_tqdm", "true", "--num_folds", "2", "--max_train_samples", "60"]


@pytest.fixture(scope="module")
def first_run(worker, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "first"
    succeed(worker, run.parent, "train.py", *SMALL, "--num_train_epochs", "1", "--output_dir", run)
    return run


def test_a_student_trains_resumes_to_the_same_bits_and_never_measures_pseudo_rows(first_run, worker):
    folder = first_run.parent
    options = [
        *SMALL,
        "--num_train_epochs",
        "2",
        "--teacher",
        first_run,
        "--rdrop_alpha",
        "1",
        "--pseudo_file",
        SAMPLE / "test.csv",
    ]
    options += [
        "--pseudo_run",
        first_run,
        "--pseudo_min_probability",
        "0",
        "--pseudo_soft",
        "--class_weight_strength",
        "0.5",
    ]
    succeed(worker, folder, "train.py", *options, "--output_dir", folder / "whole")
    oof = Logits.load(folder / "whole" / "oof_logits.npz")
    assert sorted(oof.ids) == sorted(Logits.load(first_run / "oof_logits.npz").ids)
    info = json.loads((folder / "whole" / "fold0" / "fold.json").read_text())
    record = json.loads((folder / "whole" / "fold0" / "pseudo.json").read_text())
    own = 60 - info["metrics"]["n"]
    assert sum(info["train_class_counts"]) == own + sum(record["counts"].values()) > own + 10
    report = (folder / "whole" / "report.md").read_text()
    assert "fold1: " in report and "out-of-fold scores are optimistic" in report
    data = json.loads((folder / "whole" / "run.json").read_text())["data"]
    assert data[f"teacher {first_run}"]["sha256"] == data[f"pseudo_run {first_run}"]["sha256"] and "pseudo_file" in data

    stopped = [*options, "--output_dir", folder / "again", "--fold", "1"]
    succeed(worker, folder, "train.py", *stopped, "--stop_after_epoch", "1")
    succeed(worker, folder, "train.py", *stopped, "--resume")
    parts = [Logits.load(folder / name / "fold1" / "held_out_logits.npz") for name in ("whole", "again")]
    assert np.array_equal(parts[0].logits, parts[1].logits)


def test_a_changed_teacher_stops_the_resume_in_a_sentence(first_run, worker, tmp_path):
    teacher = shutil.copytree(first_run, tmp_path / "teacher")
    options = [
        *SMALL,
        "--num_train_epochs",
        "1",
        "--teacher",
        teacher,
        "--output_dir",
        tmp_path / "student",
        "--fold",
        "0",
    ]
    succeed(worker, tmp_path, "train.py", *options, "--stop_after_epoch", "0")
    oof = Logits.load(teacher / "oof_logits.npz")
    oof.logits[0, 0] += 1
    oof.save(teacher / "oof_logits.npz")
    code, errors = worker.run(tmp_path, "train.py", *options, "--resume")
    assert code == 2 and "has changed since the run" in errors and "Traceback" not in errors


def test_targets_that_are_no_classes_are_refused_in_a_sentence(teacher):
    args = SimpleNamespace(
        num_folds=3, teacher_logits="out_of_fold", teacher=[str(teacher)], teacher_weight=0.5, temperature=2.0
    )
    for target in (SeveralLabels(LABELS), Ordered(LABELS)):
        with pytest.raises(InputError, match="one of several classes a row"):
            check_soft_labels(args, {"train": rows()}, splits_of(np.arange(30) % 3), target)


def test_own_fold_takes_what_the_model_of_the_same_fold_says_and_refuses_other_folds(teacher):
    args = SimpleNamespace(
        num_folds=3, teacher_logits="own_fold", teacher=[str(teacher)], teacher_weight=0.5, temperature=2.0
    )
    same = splits_of(np.arange(30) % 3)
    with pytest.raises(InputError, match="has no logits of 30 training rows"):
        check_teachers(args, rows(), same, LABELS)
    oof = Logits.load(teacher / "oof_logits.npz")
    for k in range(3):
        Logits(oof.ids[::-1], np.full((30, 2), k), oof.labels[::-1], LABELS).save(
            teacher / f"fold{k}" / "test_logits.npz"
        )
    check_teachers(args, rows(), same, LABELS)
    for k in range(3):
        assert np.allclose(np.stack(list(teacher_labels(args, k).values())), [[0.5, 2, k, k]] * 30)
    with pytest.raises(InputError, match="its fold 0 held out other rows"):  # whose model has seen these
        check_teachers(args, rows(), same[::-1], LABELS)
    oof.save(teacher / "test_logits.npz")
    check_teachers(args, rows(), [(np.arange(30), None)], LABELS)
    with pytest.raises(InputError, match="models have seen the tenth"):  # the average is of all folds
        check_teachers(args, rows(), same[:1], LABELS)


@pytest.mark.parametrize("labels", [-np.ones(40), np.arange(40) // 3 % 2], ids=["unlabelled", "labelled"])
def test_own_fold_refuses_a_test_file_of_other_rows_that_are_numbered_alike(teacher, labels):
    args = SimpleNamespace(teacher_logits="own_fold", teacher=[str(teacher)])
    for k in range(3):
        Logits([f"r{i}" for i in range(40)], np.zeros((40, 2)), labels, LABELS).save(
            teacher / f"fold{k}" / "test_logits.npz"
        )
    with pytest.raises(InputError, match="rows have no label in it or another than in train_file"):
        check_teachers(args, rows(), splits_of(np.arange(30) % 3), LABELS)


def test_a_teacher_or_pseudo_run_of_another_train_file_is_said_where_an_eval_file_is_measured(
    teacher, tmp_path, capsys
):
    give_test_logits(teacher)
    train = tmp_path / "train.csv"
    train.write_text("id,text,label")
    pseudo = pseudo_args(teacher, train_file=str(train), pseudo_file=str(train))
    args = SimpleNamespace(teacher_logits="out_of_fold", teacher=[str(teacher)], train_file=str(train))
    new = [TextExample(f"pseudo t{i}", ["new"]) for i in range(9)]
    Logits([f"t{i}" for i in range(9)], np.zeros((9, 2)), -np.ones(9), LABELS).save(teacher / "test_logits.npz")
    for digest, times in (("0", 2), (sha256(train), 0)):
        (teacher / "run.json").write_text(json.dumps({"task": "nsmc", "data": {"train_file": {"sha256": digest}}}))
        check_teachers(args, rows(), [(np.arange(30), None)], LABELS)
        check_pseudo(pseudo, new, rows(), [(np.arange(30), None)], LABELS)
        check_teachers(args, rows(), splits_of(np.arange(30) % 3), LABELS)
        assert capsys.readouterr().out.count("was trained on another train_file") == times
