"""Invariants of the bundled demo data in klue_re/sample (no network, a few seconds)."""

import csv
import unicodedata
from collections import Counter

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline

from common.tricks.scratch import train_tokenizer
from klue_re.data import TaskArguments, make_preprocessing, read_examples
from klue_re.entities import EntityFormat, mark, mark_and_tokenize
from tests.tools.scripts import ROOT

SAMPLE = ROOT / "klue_re" / "sample"
PREPROCESSING = make_preprocessing(TaskArguments(ner_file=str(SAMPLE / "ner.tsv")))
LABELS = PREPROCESSING["label_names"]


@pytest.fixture(scope="module")
def files():
    return {name: read_examples(SAMPLE / f"{name}.tsv", PREPROCESSING) for name in ("train", "test")}


def test_some_300_korean_sentences_over_12_relations_and_test_rows_without_labels(files):
    train, test = files["train"], files["test"]
    assert (len(train), len(test)) == (265, 50)
    counts = Counter(LABELS[row.label] for row in train)
    assert len(counts) == 12 and min(counts.values()) >= 15 and counts["관계_없음"] == max(counts.values()) == 58
    assert {row.label for row in test} == {-1}
    sentences = {row.segments[0] for row in [*train, *test]}
    assert len(sentences) == 298
    for sentence in sentences:
        assert 10 <= len(sentence) <= 80 and sentence == sentence.strip()
        assert sum("HANGUL" in unicodedata.name(character, "") for character in sentence) >= len(sentence) / 3


def test_the_traps_of_the_real_files_are_there(files):
    notes = []
    train = read_examples(SAMPLE / "train.tsv", PREPROCESSING, notes.append)
    assert notes[0].endswith("2 of them with offsets that do not fit their entities, repaired (rows 41, 152)")
    assert sum('"' in row.segments[0] for row in train) >= 3
    assert sum(row.e2.start < row.e1.start for row in train) >= 60
    groups = Counter(row.group for row in train)
    assert sum(count > 1 for count in groups.values()) >= 10


def test_no_sentence_is_in_both_files(files):
    assert not {row.group for row in files["train"]} & {row.group for row in files["test"]}


def test_every_row_has_types_that_fit_its_label(files):
    wanted = {
        "단체:창립일": ("ORG", "DAT"),
        "인물:출생_도시": ("PER", "LOC"),
        "인물:배우자": ("PER", "PER"),
        "단체:별칭": ("ORG", "ORG"),
    }
    for row in [*files["train"], *files["test"]]:
        assert row.e1.type in ("PER", "ORG") and row.e2.type in ("PER", "ORG", "LOC", "DAT", "POH", "NOH")
        if LABELS[row.label] in wanted and row.label >= 0:
            assert (row.e1.type, row.e2.type) == wanted[LABELS[row.label]]


def test_sample_submission_has_a_row_for_each_of_the_test_file(files):
    assert (SAMPLE / "sample_submission.csv").read_text().splitlines() == ["pred", *["0"] * len(files["test"])]


@pytest.mark.parametrize("representation", ["entity_mask", "typed_entity_marker_punct"])
def test_every_entity_has_tokens_of_its_own(files, representation):
    rows = files["train"]
    form = EntityFormat.of(TaskArguments(entity_representation=representation), rows)
    tokenizer = train_tokenizer([row.segments[0] for row in rows])
    tokenizer.add_tokens(form.special_tokens(), special_tokens=True)
    for row in mark_and_tokenize(rows, form, tokenizer):
        assert any(token.e1 for token in row.tokens) and any(token.e2 for token in row.tokens), row.id


@pytest.mark.slow  # of the sample alone: run it when sample/ changes
def test_a_bag_of_characters_learns_the_labels_and_the_readme_has_its_accuracy(files):
    """Of the sentence with both entities masked by their types: names alone say nothing."""
    rows = files["train"]
    form = EntityFormat.of(TaskArguments(entity_representation="entity_mask"), rows)
    texts = [" ".join(text for text, _ in mark(row, form)) for row in rows]
    labels, groups = np.array([row.label for row in rows]), [row.group for row in rows]
    model = make_pipeline(CountVectorizer(analyzer="char_wb", ngram_range=(1, 4)), LogisticRegression(max_iter=2000))
    folds = StratifiedGroupKFold(3, shuffle=True, random_state=0)
    accuracy = (cross_val_predict(model, texts, labels, cv=folds, groups=groups) == labels).mean()
    print(f"\nbag of characters, OOF accuracy {accuracy:.4f}")
    assert accuracy >= 0.65
    assert f"{accuracy:.2f}" in (SAMPLE / "README.md").read_text(encoding="utf-8")


def test_the_competitions_format_is_9_columns_without_header_and_csv_quotes():
    for name in ("train", "test"):
        with open(SAMPLE / f"{name}.tsv", encoding="utf-8", newline="") as file:
            assert {len(fields) for fields in csv.reader(file, delimiter="\t", strict=True)} == {9}
    assert '""' in (SAMPLE / "train.tsv").read_text(encoding="utf-8")
