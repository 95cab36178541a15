"""Bad input of klue_re/train.py and klue_re/predict.py: one `error:` line that names the place, exit code 2, and
nothing is written.

What the task folders share (presets, options, run folders) is tested in test_friends_bad_input.py.
"""

import csv
import io
import json
import shutil
import subprocess
import sys

import pytest

from tests.tools.scripts import ENVIRONMENT, ROOT, assert_refused, worker_of

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
    "another-suffix": ("train.csv", GOOD, ["train.csv", ".tsv", ".json"]),
    "header": ("train.tsv", "id\tsentence\te1\ts\te\te2\ts\te\tlabel\n" + GOOD, ["train.tsv, row 1, column e1_start", "'s'", "position"]),
    "commas": ("train.tsv", GOOD.replace("\t", ","), ["train.tsv, row 1", "1 fields", "expected 9", "tabs"]),
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
    "label-empty": ("train.tsv", changed(8, ""), ["train.tsv, row 2, column label", "''"]),
    "label-blind": ("train.tsv", changed(8, "blind"), ["train.tsv", "1 of 3 rows", "no label", "id 2"]),
    "one-label": ("train.tsv", tsv(ROWS[0], ["2", *ROWS[0][1:]]), ["train.tsv", "same label"]),
    "one-sentence": ("train.tsv", tsv(ROWS[0], ["2", *ROWS[0][1:8], "관계_없음"]), ["train_file", "one group"]),
    "long-sentence": ("train.tsv", changed(1, "민세라 부산" + "가" * 10_000), ["train.tsv, row 2, column sentence", "10,006", "10,000"]),
    "line-of-a-megabyte": ("train.tsv", tsv(ROWS[0], "2\t" + "가" * 1_000_000), ["train.tsv, row 2"]),
    "nul-byte": ("train.tsv", GOOD.replace("그날", "그\0날"), ["train.tsv, row 2", "NUL"]),
    "utf16": ("train.tsv", GOOD.encode("utf-16"), ["train.tsv, row 1"]),
    "cp949": ("train.tsv", GOOD.encode("cp949"), ["train.tsv, row 1", "UTF-8"]),
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
    "json-half-a-surrogate": ("train.json", klue(sentence="이순신\ud800 장군"), ["train.json, row 2, column sentence", "surrogate"]),
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
def test_a_malformed_data_file_is_refused_at_its_place(worker, tmp_path, name, content, fragments):
    write(tmp_path / name, content)
    assert_refused(worker, tmp_path, "train.py", [*PLAIN, name], fragments)


@pytest.mark.parametrize("field", ["eval_file", "test_file"])
@pytest.mark.parametrize(
    "case", ["eight-fields", "unknown-label", "repeated-id", "entity-not-in-the-sentence", "json-without-guid"]
)
def test_eval_and_test_file_are_checked_before_training_as_the_train_file_is(worker, tmp_path, field, case):
    name, content, fragments = DATA_FILES[case]
    write(tmp_path / name.replace("train", field), content)
    fragments = [fragment.replace("train.", f"{field}.") for fragment in fragments]
    assert_refused(worker, tmp_path, "train.py", [*PLAIN, TRAIN, f"--{field}", name.replace("train", field)], fragments)


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
    "ner-empty-type": ("ner_file", "a\tPER\t \n", ["other, row 1, column type2", "' '"]),
    "ner-type-with-brackets": ("ner_file", "a\t[PER]\tORG\n", ["other, row 1, column type1", "'[PER]'"]),
    "ner-type-of-signs": ("ner_file", "a\tPER\t-\n", ["other, row 1, column type2", "'-'"]),
    "ner-type-of-the-tokenizer": ("ner_file", "a\tunk\tORG\n", ["other, row 1, column type1", "'unk'"]),
    "ner-without-the-rows": ("ner_file", "a\tPER\tORG\n", ["ner_file", "has no entity types", "--ner_file"]),
}  # fmt: skip


@pytest.mark.parametrize(("option", "content", "fragments"), OTHER_FILES.values(), ids=OTHER_FILES)
def test_a_malformed_file_beside_the_rows_is_refused_at_its_place(worker, tmp_path, option, content, fragments):
    write(tmp_path / "other", content)
    assert_refused(worker, tmp_path, "train.py", [*DEMO, f"--{option}", "other"], fragments)


# Options

OPTIONS = {
    "train-file-missing": (["--train_file", "no.tsv"], ["no.tsv", "no such file", "train_file"]),
    "ner-file-missing": (["--ner_file", "no.tsv"], ["no.tsv", "no such file", "ner_file"]),
    "label-file-missing": (["--label_file", "no.json"], ["no.json", "no such file", "label_file"]),
    "types-without-a-ner-file": (["--train_file", TRAIN], ["ner_file", "has no entity types"]),
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
    "max-length-below-the-markers": (["--max_length", "6"], ["max_length", "too short for the markers", "id sample-"]),
    "max-length-of-nothing": (["--max_length", "2"], ["max_length", "'2'", "above 2"]),
    "max-length-above-the-models": (["--max_length", "600"], ["max_length", "600", "512"]),
    "drop-of-all-long-rows": (["--max_length", "8", "--long_examples", "drop"], ["long_examples", "fewer than two classes"]),
    "head-rate-0": (["--head_learning_rate", "0"], ["head_learning_rate", "0.0", "above 0"]),
    "head-rate-infinite": (["--head_learning_rate", "inf"], ["head_learning_rate", "inf"]),
    "sample-of-another-competition": (["--sample_submission_file", "other.csv"], ["other.csv, row 1", "Id,Predicted", "pred"]),
    "sample-too-short": (["--sample_submission_file", "short.csv"], ["short.csv", "1 rows", "50"]),
    "sample-of-the-other-format": (["--submission_format", "klue"], ["sample_submission.csv, row 1", "id,pred_label,probs"]),
    "unknown-format": (["--submission_format", "kaggle"], ["submission_format", "kaggle", "competition"]),
    "option-of-nsmc": (["--drop_duplicates"], ["--drop_duplicates", "not an option"]),
    "preset-with-a-key-of-friends": (["--config", "friends.yaml"], ["friends.yaml, key speaker_format", "not a field"]),
    "hub-out-of-reach": (["--config", str(KLUE_RE / "configs" / "final.yaml"), "--train_file", TRAIN], ["xlm-roberta-large", "folder"]),
}  # fmt: skip


@pytest.mark.parametrize(("argv", "fragments"), OPTIONS.values(), ids=OPTIONS)
def test_an_option_that_cannot_be_used_is_refused_by_name(worker, tmp_path, argv, fragments):
    (tmp_path / "other.csv").write_text("Id,Predicted\n0,0\n")
    (tmp_path / "short.csv").write_text("pred\n0\n")
    (tmp_path / "friends.yaml").write_text("speaker_format: colon\n")
    assert_refused(worker, tmp_path, "train.py", [*DEMO, *argv], fragments)


def test_final_without_the_competitions_files_ends_with_2_and_says_what_to_put_where_and_what_runs(tmp_path):
    shutil.copytree(KLUE_RE, tmp_path / "copy", ignore=shutil.ignore_patterns("data", "__pycache__"))
    command = [sys.executable, "copy/train.py", "--config", "copy/configs/final.yaml"]
    result = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    lines = result.stderr.splitlines()
    assert result.returncode == 2, result.stderr
    assert [line for line in lines if line.startswith("error: ")] == lines[-1:] and "Traceback" not in result.stderr
    for fragment in (
        "copy/data/train.tsv: no such file",
        "copy/README.md",
        "python copy/train.py --config copy/configs/demo.yaml",
    ):
        assert fragment in lines[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


# Prediction

PREDICT = {
    "test-file-missing": (["--test_file", "no.tsv"], ["no.tsv", "no such file"]),
    "test-file-malformed": (["--test_file", "bad.tsv", "--ner_file", NER], ["bad.tsv, row 2", "8 fields", "expected 9"]),
    "test-file-of-nsmc": (["--test_file", str(ROOT / "nsmc/sample/test.csv")], ["test.csv", ".tsv", ".json"]),
    "types-missing": (["--test_file", TEST], ["ner_file", "has no entity types", "--ner_file"]),
    "type-unknown": (["--test_file", TEST, "--ner_file", "other.tsv"], ["ner_file", "'PLANET'", "knows only"]),
    "sample-with-other-columns": (["--test_file", TEST, "--ner_file", NER, "--sample_submission_file", "s.csv"], ["s.csv, row 1", "pred"]),
    "sample-of-another-test": (
        ["--test_file", TRAIN, "--ner_file", NER, "--sample_submission_file", SUBMISSION], ["50 rows", "expected 265"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("argv", "fragments"), PREDICT.values(), ids=PREDICT)
def test_predict_refuses_what_it_cannot_read_and_leaves_the_run_as_it_is(worker, trained, argv, fragments):
    write(trained / "bad.tsv", tsv(ROWS[0], ROWS[1][:8]))
    with open(NER, encoding="utf-8") as file:
        write(trained / "other.tsv", file.read().replace("\tPER\t", "\tPLANET\t"))
    write(trained / "s.csv", "Id,pred\n")
    assert_refused(worker, trained, "predict.py", ["--run_dir", "run", *argv], fragments)


def test_a_run_of_another_task_is_refused(worker, trained, tmp_path):
    shutil.copytree(trained / "run", tmp_path / "run")
    path = tmp_path / "run/fold0/config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**config, "preprocessing": {"max_length": 64}}))  # as nsmc/ has it
    assert_refused(
        worker, tmp_path, "predict.py", ["--run_dir", "run", "--test_file", TEST], ["fold0", "another task's run"]
    )


@pytest.mark.parametrize("damage", ["cut", "missing", "not-json"])
def test_a_damaged_fold_is_refused_by_name(worker, trained, tmp_path, damage):
    shutil.copytree(trained / "run", tmp_path / "run")
    weights, config = tmp_path / "run/fold0/model.safetensors", tmp_path / "run/fold0/config.json"
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif damage == "missing":
        weights.unlink()
    else:
        config.write_text("{")
    assert_refused(
        worker, tmp_path, "predict.py", ["--run_dir", "run", "--test_file", TEST, "--ner_file", NER], ["fold0"]
    )
