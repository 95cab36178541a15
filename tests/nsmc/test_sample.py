"""Invariants of the bundled demo data in nsmc/sample (no network, a few seconds)."""

import csv
import unicodedata
from collections import Counter

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline

from nsmc.data import read_examples
from tests.tools.scripts import ROOT

SAMPLE = ROOT / "nsmc" / "sample"


@pytest.fixture(scope="module")
def train():
    return read_examples(SAMPLE / "train.txt", {})


@pytest.fixture(scope="module")
def test():
    return read_examples(SAMPLE / "test.csv", {})


def test_every_row_is_labelled_korean_and_the_labels_are_balanced(train, test):
    assert Counter(row.label for row in train) == {0: 160, 1: 160}
    assert [row.label for row in test] == [-1] * 80
    for row in [*train, *test]:
        (text,) = row.segments
        assert 5 <= len(text) <= 150 and text == text.strip()
        assert sum("HANGUL" in unicodedata.name(character, "") for character in text) >= len(text) / 2


def test_no_text_occurs_twice(train, test):
    letters = ["".join(character for character in row.segments[0] if character.isalnum()) for row in [*train, *test]]
    assert len(set(letters)) == 400


def test_styles_vary_as_in_the_real_data(train):
    texts = [row.segments[0] for row in train]
    assert sum(" " not in text for text in texts) >= 5
    assert sum("ㅋㅋ" in text for text in texts) >= 30 and sum("ㅠㅠ" in text for text in texts) >= 10
    assert sum(len(text) > 80 for text in texts) >= 10


def test_quotation_marks_are_stored_under_two_layers_of_csv_quotes_as_nsmc_does(train):
    quoted = [
        line.split("\t")[1] for line in (SAMPLE / "train.txt").read_text(encoding="utf-8").splitlines() if '"' in line
    ]
    assert len(quoted) >= 5 and all(document.startswith('"""') and '""""' in document for document in quoted)
    texts = [row.segments[0] for row in train if '"' in row.segments[0]]
    assert len(texts) == len(quoted) and not any('""' in text for text in texts)


def test_sample_submission_has_the_ids_of_the_test_file(test):
    with open(SAMPLE / "sample_submission.csv", encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["Id", "Predicted"]
    assert [row[0] for row in rows] == [row.id for row in test] == [str(i) for i in range(80)]
    assert {row[1] for row in rows} == {"0"}


@pytest.mark.slow  # of the sample alone: run it when sample/ changes
def test_a_bag_of_characters_learns_the_labels_and_the_readme_has_its_accuracy(train):
    labels = np.array([row.label for row in train])
    model = make_pipeline(CountVectorizer(analyzer="char_wb", ngram_range=(1, 3)), LogisticRegression(max_iter=2000))
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    accuracy = (cross_val_predict(model, [row.segments[0] for row in train], labels, cv=folds) == labels).mean()
    print(f"\nbag of characters, OOF accuracy {accuracy:.4f}")
    assert accuracy >= 0.75
    assert f"{accuracy:.2f}" in (SAMPLE / "README.md").read_text(encoding="utf-8")
