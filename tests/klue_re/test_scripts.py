"""klue_re/train.py and klue_re/predict.py as a user runs them, each case in a folder of its own, one CPU thread."""

import csv
import json
import shutil

import numpy as np
import pytest
import yaml
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from common.files import read_json
from common.logits import Logits
from common.submission import check_submission
from klue_re.data import LABEL_FILE, read_label_names
from klue_re.metrics import relation_metrics
from klue_re.model import RBertForRelationExtraction
from tests.tools.params import first
from tests.tools.scripts import ROOT, help_without_torch, predict, succeed, worker_of

KLUE_RE = ROOT / "klue_re"
SAMPLE = KLUE_RE / "sample"
LABELS = read_label_names(LABEL_FILE)
DEMO = ["--config", KLUE_RE / "configs" / "demo.yaml"]
QUIET = ["--torch_num_threads", "1", "--disable_tqdm", "true"]
SHORT = [*QUIET, "--num_train_epochs", "1", "--eval_strategy", "no", "--save_strategy", "no"]
ONE = [*DEMO, *SHORT, "--num_folds", "1", "--max_train_samples", "80"]


worker = worker_of(KLUE_RE)


@pytest.fixture(scope="module")
def demo(worker, tmp_path_factory):
    """train.py without an option, from another folder."""
    folder = tmp_path_factory.mktemp("demo")
    succeed(worker, folder, "train.py", *QUIET)
    return folder / "runs" / "klue_re" / "demo"


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.reader(file, delimiter="\t"))


def write_rows(path, rows):
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter="\t", lineterminator="\n").writerows(rows)


# The demo


@pytest.mark.slow
def test_the_demo_fills_the_default_run_folder_and_learns_more_than_twice_the_majoritys_share(demo):
    files = {path.relative_to(demo).as_posix() for path in demo.rglob("*") if path.is_file()}
    assert {
        "config.yaml", "run.json", "metrics.json", "oof_logits.npz", "test_logits.npz", "submission.csv", "report.md",
        *(f"fold{k}/{name}" for k in range(3) for name in ("config.json", "model.safetensors", "tokenizer.json", "fold.json", "README.md")),
    } <= files  # fmt: skip
    record = read_json(demo / "run.json")
    assert record["status"] == "done" and set(record["data"]) == {
        "train_file",
        "test_file",
        "sample_submission_file",
        "ner_file",
        "rows",
    }
    oof = Logits.load(demo / "oof_logits.npz")
    rows = rows_of(SAMPLE / "train.tsv")
    assert oof.ids.tolist() == [row[0] for row in rows]
    assert [LABELS[label] for label in oof.labels] == [row[8] for row in rows]
    assert oof.label_names == LABELS and oof.logits.shape == (265, 42)
    metrics = read_json(demo / "metrics.json")["oof"]
    assert (
        metrics["accuracy"] == pytest.approx((oof.logits.argmax(1) == oof.labels).mean())
        and metrics["accuracy"] >= 0.55
    )
    assert {key: metrics[key] for key in ("klue_micro_f1", "klue_auprc")} == pytest.approx(relation_metrics(oof))
    report = (demo / "report.md").read_text(encoding="utf-8")
    assert f"{metrics['klue_micro_f1']:.4f}" in report and "repaired (rows 41, 152)" in report


def test_rows_of_one_sentence_never_meet_across_folds(demo):
    sentence_of = {row[0]: row[1] for row in rows_of(SAMPLE / "train.tsv")}
    held_out = [
        {sentence_of[row] for row in Logits.load(demo / f"fold{k}/held_out_logits.npz").ids.tolist()} for k in range(3)
    ]
    assert sum(map(len, held_out)) == len(set(sentence_of.values()))


def test_the_submission_holds_the_numbers_of_the_labels_in_the_test_files_order(demo):
    check_submission(demo / "submission.csv", SAMPLE / "sample_submission.csv", label_names=[str(i) for i in range(42)])
    test = Logits.load(demo / "test_logits.npz")
    assert test.ids.tolist() == [row[0] for row in rows_of(SAMPLE / "test.tsv")]
    assert (demo / "submission.csv").read_text().splitlines() == ["pred", *map(str, test.logits.argmax(1))]


def test_a_fold_is_a_model_that_says_its_labels_and_preprocessing(demo):
    model = AutoModelForSequenceClassification.from_pretrained(demo / "fold0")
    assert type(model) is RBertForRelationExtraction
    assert [model.config.id2label[i] for i in range(42)] == LABELS
    assert model.config.preprocessing["ner_types"] == ["DAT", "LOC", "NOH", "ORG", "PER", "POH"]


# Prediction


def test_predict_gives_the_runs_own_submission(worker, demo, tmp_path):
    files = ["--test_file", SAMPLE / "test.tsv", "--ner_file", SAMPLE / "ner.tsv"]
    got = predict(
        worker, tmp_path, "--run_dir", demo, *files, "--sample_submission_file", SAMPLE / "sample_submission.csv"
    )
    own = Logits.load(demo / "test_logits.npz")
    assert got.ids.tolist() == own.ids.tolist() and np.abs(got.logits - own.logits).max() < 1e-5
    assert (tmp_path / "s.csv").read_bytes() == (demo / "submission.csv").read_bytes()
    assert not (tmp_path / "s.metrics.json").exists()


def test_klues_format_has_ids_names_and_probabilities_that_sum_to_one(worker, demo, tmp_path):
    files = ["--test_file", SAMPLE / "test.tsv", "--ner_file", SAMPLE / "ner.tsv", "--max_predict_samples", "7"]
    got = predict(worker, tmp_path, "--run_dir", demo, *files, "--submission_format", "klue")
    with open(tmp_path / "s.csv", encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["id", "pred_label", "probs"] and [row[0] for row in rows] == got.ids.tolist()
    for (_, label, probs), expected in zip(rows, got.probabilities(), strict=True):
        assert len(json.loads(probs)) == 42 and sum(json.loads(probs)) == pytest.approx(1, abs=1e-4)
        assert label == LABELS[int(np.argmax(expected))]


def test_klues_json_gives_the_same_predictions_as_the_tsv_with_its_types_and_labels_give_metrics(
    worker, demo, tmp_path
):
    ner = {row[0]: row[1:] for row in rows_of(SAMPLE / "ner.tsv")}
    entries = []
    for row in rows_of(SAMPLE / "train.tsv")[:40]:
        subject, target = (
            {"word": row[k], "start_idx": int(row[k + 1]), "end_idx": int(row[k + 2]), "type": kind}
            for k, kind in zip((2, 5), ner[row[0]], strict=True)
        )
        entries.append(
            {"guid": row[0], "sentence": row[1], "subject_entity": subject, "object_entity": target, "label": row[8]}
        )
    (tmp_path / "klue.json").write_text(json.dumps(entries))
    write_rows(tmp_path / "t.tsv", rows_of(SAMPLE / "train.tsv")[:40])
    from_json = predict(worker, tmp_path, "--run_dir", demo, "--test_file", "klue.json")
    metrics = read_json(tmp_path / "s.metrics.json")
    from_tsv = predict(worker, tmp_path, "--run_dir", demo, "--test_file", "t.tsv", "--ner_file", SAMPLE / "ner.tsv")
    assert np.abs(from_json.logits - from_tsv.logits).max() < 1e-5
    assert metrics["n"] == 40 and metrics["klue_auprc"] == pytest.approx(relation_metrics(from_json)["klue_auprc"])
    assert metrics["accuracy"] > 0.8  # the models were trained on these rows


def test_runs_of_different_heads_and_representations_are_averaged_by_their_weights(worker, demo, tmp_path):
    baseline = ["--head", "baseline", "--entity_pooling", "mean", "--entity_representation", "entity_marker_punct"]
    succeed(worker, tmp_path, "train.py", *ONE, *baseline, "--output_dir", "baseline")
    assert "ner_file: entity_marker_punct reads no types" in worker.printed
    files = ["--test_file", SAMPLE / "test.tsv", "--ner_file", SAMPLE / "ner.tsv"]
    one, other = (predict(worker, tmp_path, "--run_dir", folder, *files) for folder in (demo, "baseline"))
    both = predict(worker, tmp_path, "--run_dir", demo, "baseline", "--weights", "3", "1", *files)
    assert np.abs(both.logits - (3 * one.logits + other.logits) / 4).max() < 1e-5


# Options


CASES = {
    "baseline": ["--head", "baseline", "--entity_pooling", "mean"],
    "indicators": ["--head", "indicators", "--entity_pooling", "first", "--cls_pooling", "mean"],
    "mask-and-gelu": ["--entity_representation", "entity_mask", "--entity_pooling", "mean", "--activation", "gelu"],
    "types-as-tokens-between-punctuation": [
        "--entity_representation",
        "typed_entity_marker_punct",
        "--ner_as",
        "special_tokens",
    ],
    "embedding-of-types": [
        "--entity_representation",
        "entity_marker",
        "--ner_as",
        "embedding",
        "--entity_layer",
        "shared",
    ],
    "products-frozen-embeddings-fp": ["--concat", "cls*e1", "cls*e2", "e1*e2", "--freeze_word_embeddings", "--bf16"],
    "lora-and-a-faster-head": ["--lora_r", "2", "--head_learning_rate", "1e-2"],
    "rdrop-and-feature-oversampling": [
        "--rdrop_alpha",
        "1",
        "--feature_oversample_ratio",
        "0.5",
        "--label_smoothing_factor",
        "0.05",
    ],
    "adversarial-and-layer-decay": [
        "--fgm_epsilon",
        "0.5",
        "--layerwise_lr_decay",
        "0.8",
        "--class_weight_strength",
        "0.5",
    ],
    "awp-ema-checkpointing": [
        "--awp_epsilon",
        "0.01",
        "--ema_decay",
        "0.9",
        "--gradient_checkpointing",
        "--max_length",
        "14",
    ],
}


@pytest.mark.parametrize("options", first(5, CASES.values()), ids=CASES)
def test_each_option_trains_saves_and_predicts_as_it_did_in_training(worker, tmp_path, options):
    succeed(worker, tmp_path, "train.py", *ONE, "--output_dir", "run", *options)
    own = Logits.load(tmp_path / "run/test_logits.npz")
    got = predict(
        worker, tmp_path, "--run_dir", "run", "--test_file", SAMPLE / "test.tsv", "--ner_file", SAMPLE / "ner.tsv"
    )
    assert np.ptp(own.logits, axis=0).max() > 0
    assert np.abs(got.logits - own.logits).max() < (0.05 if "--bf16" in options else 1e-4)


def test_frozen_word_embeddings_stay_as_they_were(worker, tmp_path):
    succeed(worker, tmp_path, "train.py", *ONE, "--output_dir", "base")
    AutoModelForSequenceClassification.from_pretrained(tmp_path / "base/fold0").encoder.save_pretrained(
        tmp_path / "encoder"
    )
    AutoTokenizer.from_pretrained(tmp_path / "base/fold0").save_pretrained(tmp_path / "encoder")
    before = load_file(tmp_path / "encoder/model.safetensors")["embeddings.word_embeddings.weight"]
    moved = {}
    for name, options in (("frozen", ["--freeze_word_embeddings"]), ("free", [])):
        succeed(worker, tmp_path, "train.py", *ONE, "--output_dir", name, "--model_name_or_path", "encoder", *options)
        after = load_file(tmp_path / name / "fold0/model.safetensors")["encoder.embeddings.word_embeddings.weight"]
        moved[name] = (after != before).any(1).sum().item()
    assert moved["frozen"] <= 24 < moved["free"]  # the 24 typed markers begin anew


@pytest.mark.parametrize("what", ["drop", "window"])
def test_long_rows_are_dropped_from_training_or_cut_and_always_predicted(worker, tmp_path, what):
    options = ["--max_length", "14", "--long_examples", what, "--num_folds", "2", "--output_dir", "run"]
    succeed(worker, tmp_path, "train.py", *ONE, *options)
    assert len(Logits.load(tmp_path / "run/oof_logits.npz").ids) == 80
    trained = sum(sum(read_json(tmp_path / f"run/fold{k}/fold.json")["train_class_counts"]) for k in range(2))
    note = next(line for line in worker.printed.splitlines() if line.startswith("max_length 14"))
    longer = int(note.split()[2])
    assert 5 < longer < 75 and trained == (80 - longer if what == "drop" else 80)
    assert note in (tmp_path / "run/report.md").read_text(encoding="utf-8")


def test_label_fixes_change_the_labels_that_are_trained_on_and_recorded(worker, tmp_path):
    fixes = [[41, row[0], row[8], "인물:동료"] for row in rows_of(SAMPLE / "train.tsv")[:3]]
    (tmp_path / "fixes.json").write_text(json.dumps([*fixes, [9, "elsewhere", "인물:동료", "관계_없음"]]))
    succeed(
        worker, tmp_path, "train.py", *ONE, "--output_dir", "run", "--num_folds", "2", "--label_fixes", "fixes.json"
    )
    oof = Logits.load(tmp_path / "run/oof_logits.npz")
    assert [LABELS[label] for label in oof.labels[:3]] == ["인물:동료"] * 3
    assert "label_fixes: 3 rows relabelled, 1 more are not in train_file" in worker.printed
    assert read_json(tmp_path / "run/run.json")["data"]["label_fixes"]["sha256"]


def test_other_labels_come_from_a_label_file(worker, tmp_path):
    rows = [row for row in rows_of(SAMPLE / "train.tsv") if row[8] in ("관계_없음", "단체:창립일", "인물:배우자")]
    names = {"관계_없음": "no_relation", "단체:창립일": "org:founded", "인물:배우자": "per:spouse"}
    write_rows(tmp_path / "t.tsv", [[*row[:8], names[row[8]]] for row in rows])
    (tmp_path / "relation_list.json").write_text(json.dumps({"relations": list(names.values())}))
    files = ["--train_file", "t.tsv", "--label_file", "relation_list.json", "--ner_file", SAMPLE / "ner.tsv"]
    succeed(worker, tmp_path, "train.py", *ONE, *files, "--output_dir", "run")
    assert Logits.load(tmp_path / "run/eval_logits.npz").label_names == list(names.values())
    got = predict(worker, tmp_path, "--run_dir", "run", "--test_file", "t.tsv", "--ner_file", SAMPLE / "ner.tsv")
    assert got.label_names == list(names.values()) and 0 <= read_json(tmp_path / "s.metrics.json")["klue_micro_f1"] <= 1


def test_a_stopped_run_goes_on_and_its_folds_train_alone(worker, tmp_path):
    shared = [*DEMO, *SHORT, "--max_train_samples", "80", "--num_folds", "2"]
    succeed(worker, tmp_path, "train.py", *shared, "--output_dir", "whole")
    for fold in (1, 0):
        succeed(worker, tmp_path, "train.py", *shared, "--output_dir", "parts", "--fold", fold)
    succeed(worker, tmp_path, "train.py", *shared, "--output_dir", "parts", "--resume")
    for name in ("oof", "test"):
        whole, parts = (Logits.load(tmp_path / folder / f"{name}_logits.npz") for folder in ("whole", "parts"))
        assert np.array_equal(whole.logits, parts.logits)


# Presets, the competition's files, a copied folder


def test_the_sources_five_combinations_are_presets_that_differ_in_nothing_else():
    presets = {path.stem: yaml.safe_load(path.read_text()) for path in (KLUE_RE / "configs").glob("*.yaml")}
    combinations = [
        presets[name].pop("concat") for name in sorted(presets) if name == "final" or name.startswith("concat_")
    ]
    assert sorted(combinations) == sorted(
        [
            ["cls", "e1", "e2"],
            ["cls", "e1", "e2", "e1*e2"],
            ["cls", "e1", "e2", "|e1-e2|"],
            ["cls*e1", "cls*e2"],
            ["cls*e1", "cls*e2", "e1*e2"],
        ]
    )
    assert all(presets[name] == presets["final"] for name in presets if name.startswith("concat_"))


@pytest.mark.parametrize("name", ["tune", "final", "best", "small", "concat_product", "concat_cls_products_product"])
def test_every_preset_trains_with_its_own_options_on_a_model_from_scratch(worker, tmp_path, name):
    files = ["--train_file", SAMPLE / "train.tsv", "--ner_file", SAMPLE / "ner.tsv"]
    config = [
        "--config",
        KLUE_RE / "configs" / f"{name}.yaml",
        *SHORT,
        "--model_name_or_path",
        "scratch",
        "--num_folds",
        "1",
    ]
    succeed(worker, tmp_path, "train.py", *config, *files, "--max_train_samples", "60", "--output_dir", "run")
    assert read_json(tmp_path / "run/run.json")["status"] == "done"


def test_a_copied_folder_takes_the_competitions_files_from_its_own_data_folder(worker, tmp_path):
    shutil.copytree(KLUE_RE, tmp_path / "my_contest", ignore=shutil.ignore_patterns("data", "__pycache__"))
    data = tmp_path / "my_contest" / "data"
    data.mkdir()
    for name in ("train.tsv", "test.tsv"):
        shutil.copy(SAMPLE / name, data / name)
    options = ["--model_name_or_path", "scratch", "--num_folds", "2", "--max_train_samples", "60"]
    succeed(worker, tmp_path, tmp_path / "my_contest" / "train.py", *SHORT, *options)
    assert "preset my_contest/configs/final.yaml (my_contest/data/train.tsv is there)" in worker.printed
    assert "no my_contest/data/ner.tsv: going on without ner_file" in worker.printed
    check_submission(tmp_path / "runs/my_contest/final/submission.csv", SAMPLE / "sample_submission.csv")


# Help


@pytest.mark.parametrize(
    ("script", "option"), [("train.py", "--entity_representation"), ("predict.py", "--submission_format")]
)
def test_help_lists_the_options_without_importing_torch(script, option, tmp_path):
    assert option in help_without_torch(KLUE_RE / script, tmp_path)
