"""Bad input of the scripts of klue_re/: one sentence that names the place, and nothing is written.

Most sentences are asked of the functions that say them; a few command lines run as a user types them, one after the
other in a single process, and end with one `error:` line and exit code 2. What the task folders share (presets,
options, run folders) is tested in tests/common/options and tests/friends.
"""

import csv
import io
import json
import shutil

import pytest
import torch

from common.console import InputError
from common.examples import read_files
from common.folds import make_splits
from common.models import load_fold
from common.options import parse_predict_args, parse_train_args
from common.tricks.scratch import train_tokenizer
from klue_re.data import (
    COMPETITION_FILES,
    SUBMISSIONS,
    TaskArguments,
    TaskPredictArguments,
    apply_label_fixes,
    make_preprocessing,
    read_examples,
)
from klue_re.entities import PREPROCESSING, EntityFormat, find_max_length, mark_and_tokenize, marked_texts
from klue_re.model import RBertForRelationExtraction
from tests.tools.scripts import ROOT, assert_refused, worker_of

KLUE_RE = ROOT / "klue_re"
SAMPLE = KLUE_RE / "sample"
TRAIN, TEST, NER, SUBMISSION = (
    str(SAMPLE / name) for name in ("train.tsv", "test.tsv", "ner.tsv", "sample_submission.csv")
)
SMALL = ["--max_train_samples", "60", "--num_train_epochs", "1", "--num_folds", "1", "--output_dir", "run"]
DEMO = ["--config", str(KLUE_RE / "configs" / "demo.yaml"), *SMALL]
PLAIN = [*DEMO, "--entity_representation", "entity_marker_punct", "--train_file"]  # without types


worker = worker_of(KLUE_RE)


@pytest.fixture(scope="module")
def trained(worker, tmp_path_factory):
    """A folder with run/: one fold of the demo, an epoch on 60 rows, markers with types."""
    folder = tmp_path_factory.mktemp("trained")
    code, errors = worker.run(folder, "train.py", *DEMO)
    assert code == 0, errors
    return folder


def refused(fragments, function, *args):
    """The call must raise an InputError whose sentence holds the fragments."""
    with pytest.raises(InputError) as raised:
        function(*args)
    sentence = str(raised.value)
    assert len(sentence) < 2500
    for fragment in fragments:
        assert fragment in sentence


def read_all(args):
    """The files of a run as train.py reads and marks them, and as it splits them."""
    preprocessing = make_preprocessing(args)
    examples = read_files(args, lambda path: read_examples(path, preprocessing))
    if args.label_fixes:
        apply_label_fixes(examples["train"], args.label_fixes, preprocessing["label_names"])
    EntityFormat.of(args, [row for rows in examples.values() for row in rows])
    make_splits(examples, preprocessing["label_names"], args)
    return examples


# Data files: each is written as it stands and given as train_file.

ROWS = [
    ["1", "이순신은 조선의 장군이다", "이순신", "0", "2", "장군", "9", "10", "인물:직업/직함"],
    ["2", "민세라는 그날 부산에 갔다", "민세라", "0", "2", "부산", "8", "9", "관계_없음"],
    ["3", "다솜방송은 부산에 있다", "다솜방송", "0", "3", "부산", "6", "7", "단체:본사_도시"],
]


def tsv(*rows: list[str] | str) -> str:
    file = io.StringIO()
    for row in rows:
        if isinstance(row, str):
            file.write(row + "\n")
        else:
            csv.writer(file, delimiter="\t", lineterminator="\n").writerow(row)
    return file.getvalue()


def changed(column: int, value: str) -> str:
    """The good rows with another value in the second."""
    return tsv(ROWS[0], [*ROWS[1][:column], value, *ROWS[1][column + 1 :]], ROWS[2])


ENTITY = {"word": "이순신", "start_idx": 0, "end_idx": 2, "type": "PER"}


def klue(**changes: object) -> str:
    """Two entries; `changes` replace fields of the second, a value of ... removes one."""
    entry = {"guid": "a", "sentence": ROWS[0][1], "subject_entity": ENTITY, "label": "인물:직업/직함"}
    entry["object_entity"] = {"word": "장군", "start_idx": 9, "end_idx": 10, "type": "POH"}
    second = {**entry, "guid": "b", **changes}
    return json.dumps([entry, {key: value for key, value in second.items() if value is not ...}])


def entity(**changes: object) -> str:
    return klue(subject_entity={key: value for key, value in {**ENTITY, **changes}.items() if value is not ...})


GOOD = tsv(*ROWS)
DATA_FILES = {
    # id: (file name, content, fragments of the message)
    "empty-file": ("train.tsv", "", ["train.tsv", "empty"]),
    "white-space-only": ("train.tsv", " \n\t\n", ["train.tsv", "empty"]),
    "header": ("train.tsv", "id\tsentence\te1\ts\te\te2\ts\te\tlabel\n" + GOOD, ["train.tsv, row 1, column e1_start", "'s'", "position"]),
    "eight-fields": ("train.tsv", tsv(ROWS[0], ROWS[1][:8]), ["train.tsv, row 2", "8 fields", "expected 9"]),
    "ten-fields": ("train.tsv", tsv(ROWS[0], [*ROWS[1], "x"]), ["train.tsv, row 2", "10 fields"]),
    "tab-in-the-sentence": ("train.tsv", tsv(ROWS[0], "2\t민세\t라\t민\t0\t0\t라\t2\t2\t관계_없음"), ["row 2", "10 fields"]),
    "open-quote": ("train.tsv", tsv(ROWS[0], '2\t"민세라는\t민세라\t0\t2\t는\t3\t3\t관계_없음'), ["train.tsv, row 2", "CSV quotes"]),
    "quote-closed-early": ("train.tsv", tsv(ROWS[0], '2\t"민세"라는\t민세\t0\t1\t라\t2\t2\t관계_없음'), ["train.tsv, row 2", "CSV quotes"]),
    "sentence-over-two-lines": ("train.tsv", tsv(ROWS[0], "2\t민세라는\n부산에"), ["train.tsv, row 2", "2 fields"]),
    "empty-id": ("train.tsv", changed(0, " "), ["train.tsv, row 2, column id", "empty"]),
    "repeated-id": ("train.tsv", changed(0, "1"), ["train.tsv, row 2, column id", "'1'", "row 1"]),
    "row-behind-a-quoted-line-end": (
        "train.tsv",
        tsv(["0", "가\n나다", "가", "0", "0", "나", "2", "2", "관계_없음"], [*ROWS[1][:8], "x"]),
        ["train.tsv, row 3, column label"],
    ),
    "entity-not-in-the-sentence": ("train.tsv", changed(2, "민세리"), ["train.tsv, row 2, column e1_start", "'민세라'", "nowhere"]),
    "second-entity-not-in-the-sentence": ("train.tsv", changed(5, "부천"), ["train.tsv, row 2, column e2_start", "'부천'"]),
    "entity-in-other-letters": ("train.tsv", changed(2, "민 세라"), ["train.tsv, row 2, column e1_start", "nowhere"]),
    "empty-entity": ("train.tsv", changed(5, ""), ["train.tsv, row 2, column entity2", "empty"]),
    "empty-sentence": ("train.tsv", changed(1, ""), ["train.tsv, row 2, column e1_start", "nowhere"]),
    "negative-offset": ("train.tsv", changed(3, "-1"), ["train.tsv, row 2, column e1_start", "'-1'", "from 0"]),
    "offset-a-word": ("train.tsv", changed(7, "아홉"), ["train.tsv, row 2, column e2_end", "'아홉'"]),
    "offset-empty": ("train.tsv", changed(6, ""), ["train.tsv, row 2, column e2_start", "''"]),
    "offset-a-decimal": ("train.tsv", changed(4, "2.0"), ["train.tsv, row 2, column e1_end", "'2.0'"]),
    "offset-of-50-digits": ("train.tsv", changed(4, "9" * 50), ["train.tsv, row 2, column e1_end", "position"]),
    "unknown-label": ("train.tsv", changed(8, "인물:직업"), ["train.tsv, row 2, column label", "'인물:직업'", "42", "인물:직업/직함"]),
    "label-a-number": ("train.tsv", changed(8, "0"), ["train.tsv, row 2, column label", "'0'"]),
    "label-empty": ("train.tsv", changed(8, ""), ["train.tsv", "1 of 3 rows", "no label", "id 2"]),
    "label-blind": ("train.tsv", changed(8, "blind"), ["train.tsv", "1 of 3 rows", "no label", "id 2"]),
    "one-label": ("train.tsv", tsv(ROWS[0], ["2", *ROWS[0][1:]]), ["train.tsv", "same label"]),
    "one-sentence": ("train.tsv", tsv(ROWS[0], ["2", *ROWS[0][1:8], "관계_없음"]), ["train_file", "one group"]),
    "long-sentence": ("train.tsv", changed(1, "민세라 부산" + "가" * 10_000), ["train.tsv, row 2, column sentence", "10,006", "10,000"]),
    "line-of-a-megabyte": ("train.tsv", tsv(ROWS[0], "2\t" + "가" * 1_000_000), ["train.tsv, row 2"]),
    "nul-byte": ("train.tsv", GOOD.replace("그날", "그\0날"), ["train.tsv, row 2", "NUL"]),
    "utf8-cut-in-a-character": ("train.tsv", GOOD.encode()[:-3], ["train.tsv, row 3", "UTF-8"]),
    "id-with-carriage-return": ("train.tsv", GOOD.replace("3\t", '"a\rb"\t', 1).replace("1\t", "0\t", 1), ["train.tsv", "carriage return"]),
    "json-not-closed": ("train.json", klue()[:-2], ["train.json, row 1, column", "is not JSON"]),
    "json-an-object": ("train.json", "{}", ["train.json", "a list of objects"]),
    "json-a-list-of-numbers": ("train.json", "[1, 2]", ["train.json, row 1", "int", "object"]),
    "json-nested-deeply": ("train.json", "[" * 100_000, ["train.json"]),
    "json-empty-type": ("train.json", klue(subject_entity={**ENTITY, "type": " "}), ["row 2, column subject_entity, column type"]),
    "json-without-guid": ("train.json", klue(guid=...), ["train.json, row 2, column guid", "missing"]),
    "json-guid-a-number": ("train.json", klue(guid=7), ["train.json, row 2, column guid", "int", "str"]),
    "json-repeated-guid": ("train.json", klue(guid="a"), ["train.json, row 2, column id", "'a'", "row 1"]),
    "json-without-sentence": ("train.json", klue(sentence=None), ["train.json, row 2, column sentence", "NoneType"]),
    "json-half-a-surrogate": ("train.json", klue(sentence="이순신\ud800 장군"), ["train.json, row 1, column", "surrogate"]),
    "json-without-subject": ("train.json", klue(subject_entity=...), ["train.json, row 2, column subject_entity", "missing"]),
    "json-object-a-string": ("train.json", klue(object_entity="장군"), ["train.json, row 2, column object_entity", "str", "dict"]),
    "json-entity-without-word": ("train.json", entity(word=...), ["train.json, row 2, column subject_entity, column word", "missing"]),
    "json-entity-without-type": ("train.json", entity(type=...), ["train.json, row 2, column subject_entity, column type", "missing"]),
    "json-start-a-string": ("train.json", entity(start_idx="0"), ["column subject_entity, column start_idx", "str", "int"]),
    "json-start-true": ("train.json", entity(start_idx=True), ["column subject_entity, column start_idx", "bool", "int"]),
    "json-start-negative": ("train.json", entity(start_idx=-3), ["train.json, row 2, column e1_start", "'-3'"]),
    "json-word-elsewhere": ("train.json", entity(word="세종"), ["train.json, row 2, column e1_start", "'세종'", "nowhere"]),
    "json-unknown-label": ("train.json", klue(label="per:title"), ["train.json, row 2, column label", "'per:title'"]),
    "json-label-a-list": ("train.json", klue(label=["x"]), ["train.json, row 2, column label", "['x']"]),
    "json-of-friends": ("train.json", '[[{"speaker": "A", "utterance": "x"}]]', ["train.json, row 1", "list", "object"]),
}  # fmt: skip


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", errors="surrogatepass"))


@pytest.mark.parametrize(("name", "content", "fragments"), DATA_FILES.values(), ids=DATA_FILES)
def test_a_malformed_data_file_is_refused_at_its_place(tmp_path, name, content, fragments):
    write(tmp_path / name, content)
    refused(fragments, read_all, TaskArguments(train_file=str(tmp_path / name)))


@pytest.mark.parametrize("field", ["eval_file", "test_file"])
@pytest.mark.parametrize("case", ["eight-fields", "unknown-label", "json-without-guid"])
def test_eval_and_test_file_are_checked_as_the_train_file_is(tmp_path, field, case):
    name, content, fragments = DATA_FILES[case]
    path = tmp_path / name.replace("train", field)
    write(path, content)
    fragments = [fragment.replace("train.", f"{field}.") for fragment in fragments]
    refused(fragments, read_all, TaskArguments(train_file=TRAIN, **{field: str(path)}))


# Label files, relabelled rows, entity types

OTHER_FILES = {
    # id: (option, content, fragments)
    "labels-not-json": ("label_file", "{", ["other, row 1, column", "is not JSON"]),
    "labels-a-list": ("label_file", '["a", "b"]', ["other", "label: number"]),
    "labels-one": ("label_file", '{"a": 0}', ["other", "two labels"]),
    "labels-with-a-gap": ("label_file", '{"a": 0, "b": 2}', ["other", "not 0 to 1"]),
    "labels-twice-the-same-number": ("label_file", '{"a": 0, "b": 0}', ["other", "not 0 to 1"]),
    "labels-from-1": ("label_file", '{"a": 1, "b": 2}', ["other", "not 0 to 1"]),
    "labels-numbers-as-text": ("label_file", '{"a": "0", "b": "1"}', ["other", "label: number"]),
    "labels-twice": ("label_file", '{"relations": ["a", "b", "a"]}', ["other", "'a' stands twice"]),
    "labels-reserved": ("label_file", '{"a": 0, "blind": 1}', ["other", "'blind' is what a test file has"]),
    "labels-a-list-of-numbers": ("label_file", '{"relations": [0, 1]}', ["other", "label: number"]),
    "labels-of-another-contest": ("label_file", '{"no_relation": 0, "per:title": 1}', ["train.tsv, row 1, column label", "2 labels"]),
    "labels-a-pickle": ("label_file", b"\x80\x04\x95\x10\x00\x00\x00\x00", ["other, row 1"]),
    "fixes-not-json": ("label_fixes", "[[1,", ["other, row 1, column", "is not JSON"]),
    "fixes-an-object": ("label_fixes", "{}", ["other", "a list of"]),
    "fixes-of-three-values": ("label_fixes", '[[1, "x", "관계_없음"]]', ["other, row 1", "[row, id, old label, new label]"]),
    "fixes-of-other-rows": ("label_fixes", '[[1, "x", "관계_없음", "단체:별칭"]]', ["other", "none of its 1 ids is in train_file"]),
    "fixes-to-no-label": ("label_fixes", '[[1, "x", "관계_없음", "blind"]]', ["other, row 1, column new", "'blind' is no label"]),
    "fixes-of-an-unknown-label": ("label_fixes", '[[1, "x", "관계_없음", "?"]]', ["other, row 1, column new", "'?'"]),
    "fixes-of-another-label": (
        "label_fixes",
        json.dumps([[1, "sample-55-0-0-4-10-12", "관계_없음", "단체:구성원"]]),
        ["other, row 1, column old", "sample-55-0-0-4-10-12 has label 단체:구성원", "관계_없음"],
    ),
    "ner-of-two-columns": ("ner_file", "a\tPER\n", ["other, row 1", "2 fields", "expected 3"]),
    "ner-repeated-id": ("ner_file", "a\tPER\tPER\na\tPER\tORG\n", ["other, row 2, column id", "'a'", "repeated"]),
    "ner-empty-id": ("ner_file", " \tPER\tPER\n", ["other, row 1, column id", "empty"]),
    "fixes-half-a-surrogate": ("label_fixes", '[[1, "\\ud800", "a", "b"]]', ["other, row 1, column", "surrogate"]),
    "ner-empty-type": ("ner_file", "a\tPER\t \n", ["other, row 1, column type2", "' '"]),
    "ner-type-with-brackets": ("ner_file", "a\t[PER]\tORG\n", ["other, row 1, column type1", "'[PER]'"]),
    "ner-type-of-signs": ("ner_file", "a\tPER\t-\n", ["other, row 1, column type2", "'-'"]),
    "ner-type-of-the-tokenizer": ("ner_file", "a\tunk\tORG\n", ["other, row 1, column type1", "'unk'"]),
    "ner-without-the-rows": ("ner_file", "a\tPER\tORG\n", ["ner_file", "has no entity types", "--ner_file"]),
}  # fmt: skip


@pytest.mark.parametrize(("option", "content", "fragments"), OTHER_FILES.values(), ids=OTHER_FILES)
def test_a_malformed_file_beside_the_rows_is_refused_at_its_place(tmp_path, option, content, fragments):
    write(tmp_path / "other", content)
    files = {"train_file": TRAIN, "ner_file": NER, option: str(tmp_path / "other")}
    refused(fragments, read_all, TaskArguments(entity_representation="typed_entity_marker", **files))


# Options

OPTIONS = {
    # id: (options beside the demo's, fragments of the message)
    "train-file-missing": (["--train_file", "no.tsv"], ["no.tsv", "no such file", "train_file"]),
    "ner-file-missing": (["--ner_file", "no.tsv"], ["no.tsv", "no such file", "ner_file"]),
    "label-file-missing": (["--label_file", "no.json"], ["no.json", "no such file", "label_file"]),
    "unknown-representation": (["--entity_representation", "markers"], ["entity_representation", "markers", "entity_mask"]),
    "unknown-head": (["--head", "bert"], ["head", "bert", "indicators"]),
    "unknown-term": (["--concat", "cls", "e3"], ["concat", "'e3'", "|e1-e2|"]),
    "repeated-term": (["--concat", "cls", "cls"], ["concat", "each once"]),
    "baseline-with-a-concatenation": (["--head", "baseline", "--concat", "cls", "--entity_pooling", "mean"], ["concat", "baseline"]),
    "baseline-with-pooling": (["--head", "baseline"], ["entity_pooling", "baseline"]),  # the demo's
    "baseline-with-an-embedding": (
        ["--head", "baseline", "--entity_pooling", "mean", "--ner_as", "embedding"], ["ner_as", "baseline"],
    ),
    "indicator-words-without-indicators": (["--indicator_words", "5"], ["indicator_words", "indicators"]),
    "indicator-words-negative": (["--head", "indicators", "--indicator_words", "-1"], ["indicator_words", "-1"]),
    "mask-pooled-at-its-marker": (["--entity_representation", "entity_mask"], ["entity_pooling", "entity_mask"]),
    "embedding-of-types-that-are-text": (["--ner_as", "embedding"], ["ner_as", "typed_entity_marker", "entity_marker"]),
    "types-as-text-without-types": (["--entity_representation", "entity_marker", "--ner_as", "text"], ["ner_as", "no types"]),
    "dropout-1": (["--dropout", "1"], ["dropout", "1.0", "below 1"]),
    "fgm-on-frozen-embeddings": (["--freeze_word_embeddings", "--fgm_epsilon", "1"], ["fgm_epsilon", "freeze_word_embeddings"]),
    "head-rate-0": (["--head_learning_rate", "0"], ["head_learning_rate", "0.0", "above 0"]),
    "head-rate-infinite": (["--head_learning_rate", "inf"], ["head_learning_rate", "inf"]),
    "unknown-format": (["--submission_format", "kaggle"], ["submission_format", "kaggle", "competition"]),
    "option-of-nsmc": (["--drop_duplicates"], ["--drop_duplicates", "not an option"]),
    "preset-with-a-key-of-friends": (["--config", "friends.yaml"], ["friends.yaml, key speaker_format", "not a field"]),
}  # fmt: skip


@pytest.mark.parametrize(("argv", "fragments"), OPTIONS.values(), ids=OPTIONS)
def test_an_option_that_cannot_be_used_is_refused_by_name(tmp_path, monkeypatch, argv, fragments):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "friends.yaml").write_text("speaker_format: colon\n")
    refused(fragments, parse_train_args, TaskArguments, KLUE_RE, COMPETITION_FILES, "", [*DEMO, *argv])


@pytest.mark.parametrize(
    ("max_length", "fragments"),
    [
        ("6", ["max_length", "too short for the markers", "id sample-"]),
        ("2", ["max_length", "'2'", "above 2"]),
        ("600", ["max_length", "600", "512"]),
    ],
)
def test_a_max_length_that_no_row_fits_or_no_model_takes_is_refused(max_length, fragments):
    args = TaskArguments(train_file=TRAIN)
    rows = read_all(args)["train"]
    form = EntityFormat.of(args, rows)
    tokenizer = train_tokenizer(marked_texts(rows, form))
    marked = mark_and_tokenize(rows, form, tokenizer)
    refused(fragments, find_max_length, {"train": marked}, tokenizer, max_length)


@pytest.mark.parametrize(
    ("submission_format", "sample", "fragments"),
    [
        ("competition", "Id,Predicted\n0,0\n", ["s.csv, row 1", "Id,Predicted", "pred"]),
        ("competition", "pred\n0\n", ["s.csv", "1 rows", "50"]),
        ("klue", "pred\n0\n", ["s.csv, row 1", "id,pred_label,probs"]),
    ],
)
def test_a_sample_submission_that_does_not_fit_is_refused(tmp_path, submission_format, sample, fragments):
    write(tmp_path / "s.csv", sample)
    args = TaskArguments(train_file=TRAIN, test_file=TEST, sample_submission_file=str(tmp_path / "s.csv"))
    refused(fragments, SUBMISSIONS[submission_format].expect, args, read_all(args)["test"], ["a", "b"])


def test_final_without_the_competitions_files_says_what_to_put_where_and_what_runs(tmp_path, monkeypatch):
    shutil.copytree(KLUE_RE, tmp_path / "copy", ignore=shutil.ignore_patterns("data", "__pycache__"))
    monkeypatch.chdir(tmp_path)
    argv = ["--config", "copy/configs/final.yaml"]
    fragments = ["copy/data/train.tsv: no such file", "copy/README.md", "copy/train.py --config copy/configs/demo.yaml"]
    refused(fragments, parse_train_args, TaskArguments, tmp_path / "copy", COMPETITION_FILES, "", argv)


# What train.py says at each of its steps, as a user sees it

STEPS = {
    "read": ([*PLAIN, "eight.tsv"], ["eight.tsv, row 2", "8 fields", "expected 9", "tabs"]),
    "fixes": ([*DEMO, "--label_fixes", "fixes.json"], ["fixes.json, row 1, column old", "has label 단체:구성원"]),
    "types": ([*DEMO, "--train_file", TRAIN], ["ner_file", "has no entity types"]),
    "long-rows": (
        [*DEMO, "--max_length", "8", "--long_examples", "drop"],
        ["long_examples, length 8", "fewer than two classes"],
    ),
    "model": (
        ["--config", str(KLUE_RE / "configs" / "final.yaml"), *SMALL, "--train_file", TRAIN],
        ["xlm-roberta-large", "folder"],
    ),
}


@pytest.mark.parametrize(("argv", "fragments"), STEPS.values(), ids=STEPS)
def test_train_ends_with_2_and_one_sentence_before_anything_is_written(worker, tmp_path, argv, fragments):
    write(tmp_path / "eight.tsv", tsv(ROWS[0], ROWS[1][:8]))
    write(tmp_path / "fixes.json", OTHER_FILES["fixes-of-another-label"][1])
    assert_refused(worker, tmp_path, "train.py", argv, fragments)


# Prediction

PREDICT = {
    "malformed": (["--test_file", "bad.tsv", "--ner_file", NER], ["bad.tsv, row 2", "8 fields", "expected 9"]),
    "type-unknown": (["--test_file", TEST, "--ner_file", "other.tsv"], ["ner_file", "'PLANET'", "knows only"]),
    "sample-of-another-test": (
        ["--test_file", TRAIN, "--ner_file", NER, "--sample_submission_file", SUBMISSION], ["50 rows", "expected 265"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("argv", "fragments"), PREDICT.values(), ids=PREDICT)
def test_predict_refuses_what_it_cannot_read_and_leaves_the_run_as_it_is(worker, trained, argv, fragments):
    write(trained / "bad.tsv", tsv(ROWS[0], ROWS[1][:8]))
    with open(NER, encoding="utf-8") as file:
        write(trained / "other.tsv", file.read().replace("\tPER\t", "\tPLANET\t"))
    assert_refused(worker, trained, "predict.py", ["--run_dir", "run", *argv], fragments)


def test_predict_refuses_a_file_that_is_missing_or_of_another_task_and_rows_without_types(trained):
    argv = ["--run_dir", str(trained / "run"), "--test_file"]
    refused(["no.tsv: no such"], parse_predict_args, TaskPredictArguments, KLUE_RE, "", [*argv, "no.tsv"])
    fields = ["test.csv, row 1: 2 fields, expected 9 (id,sentence"]
    refused(fields, read_examples, ROOT / "nsmc/sample/test.csv", make_preprocessing(TaskArguments()))
    rows = read_examples(TEST, make_preprocessing(TaskArguments()))
    model, tokenizer = load_run(trained / "run")
    form, _ = EntityFormat.of_preprocessing(model.config.preprocessing)
    refused(["ner_file", "has no entity types", "--ner_file"], mark_and_tokenize, rows, form, tokenizer)


def load_run(run):
    """Model and tokenizer of its only fold."""
    labels = make_preprocessing(TaskArguments())["label_names"]
    return load_fold(run / "fold0", torch.device("cpu"), labels, PREPROCESSING)


def test_a_run_of_another_task_is_refused(trained, tmp_path):
    assert type(load_run(trained / "run")[0]) is RBertForRelationExtraction
    shutil.copytree(trained / "run", tmp_path / "run")
    path = tmp_path / "run/fold0/config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**config, "preprocessing": {"max_length": 64}}))  # as nsmc/ has it
    refused(["fold0", "another task's run"], load_run, tmp_path / "run")


@pytest.mark.parametrize("damage", ["cut", "missing"])
def test_damaged_weights_are_refused_by_the_name_of_their_fold(trained, tmp_path, damage):
    shutil.copytree(trained / "run", tmp_path / "run")
    weights = tmp_path / "run/fold0/model.safetensors"
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-100])
    else:
        weights.unlink()
    refused(["fold0"], load_run, tmp_path / "run")


def test_a_damaged_config_is_refused_by_the_name_of_its_fold(worker, trained, tmp_path):
    shutil.copytree(trained / "run", tmp_path / "run")
    (tmp_path / "run/fold0/config.json").write_text("{")
    argv = ["--run_dir", "run", "--test_file", TEST, "--ner_file", NER]
    assert_refused(worker, tmp_path, "predict.py", argv, ["fold0"])
