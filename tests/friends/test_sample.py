"""Invariants of the bundled demo data in friends/sample (no network, a few seconds)."""

import collections
import csv
import functools
import json
import pathlib

import pytest

SAMPLE = pathlib.Path(__file__).resolve().parents[2] / "friends" / "sample"
LABELS = ["anger", "disgust", "fear", "joy", "neutral", "non-neutral", "sadness", "surprise"]


@functools.cache
def train_dialogues():
    return json.loads((SAMPLE / "train.json").read_text(encoding="utf-8"))


@functools.cache
def read_test_file():
    with open(SAMPLE / "test.csv", encoding="utf-8", newline="") as handle:
        reader = csv.DictReader(handle)
        rows = list(reader)
    return reader.fieldnames, rows


def rows_with_previous():
    """(current, previous or '', label, dialogue number) for each labelled utterance."""
    rows = []
    for number, dialogue in enumerate(train_dialogues()):
        previous = ""
        for row in dialogue:
            rows.append((row["utterance"], previous, row["emotion"], number))
            previous = row["utterance"]
    return rows


def oof_accuracy(texts, labels, groups):
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(
        # each text is a list of token lists: 1- and 2-grams inside each, prefixed by its slot
        CountVectorizer(analyzer=slot_ngrams),
        LogisticRegression(max_iter=2000),
    )
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    predicted = cross_val_predict(model, texts, labels, groups=groups, cv=folds)
    return sum(p == y for p, y in zip(predicted, labels, strict=True)) / len(labels)


def slot_ngrams(slots):
    from sklearn.feature_extraction.text import CountVectorizer

    analyze = CountVectorizer(ngram_range=(1, 2)).build_analyzer()
    return [f"{slot}_{gram}" for slot, text in slots for gram in analyze(text)]


def test_every_dialogue_has_5_to_14_complete_known_label_utterances():
    for dialogue in train_dialogues():
        assert 5 <= len(dialogue) <= 14
        for row in dialogue:
            assert set(row) == {"speaker", "utterance", "emotion"}
            assert row["speaker"].strip() and row["utterance"].strip()
            assert row["emotion"] in LABELS


def test_train_is_large_enough_and_no_label_is_missing_or_dominant():
    counts = collections.Counter(row[2] for row in rows_with_previous())
    total = sum(counts.values())
    assert total >= 500
    assert set(counts) == set(LABELS)
    assert min(counts.values()) >= 15
    assert counts.most_common(1)[0][0] == "neutral"
    assert counts["neutral"] / total <= 0.45


def test_no_utterance_repeats_within_or_between_train_and_test():
    texts = [row[0] for row in rows_with_previous()] + [row["utterance"] for row in read_test_file()[1]]
    counts = collections.Counter(text.strip().lower() for text in texts)
    assert [text for text, n in counts.items() if n > 1] == []


def test_test_csv_has_running_ids_grouped_dialogues_and_no_labels():
    header, rows = read_test_file()
    assert header == ["id", "i_dialog", "i_utterance", "speaker", "utterance"]
    assert not (SAMPLE / "test.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    assert [int(row["id"]) for row in rows] == list(range(len(rows)))
    position = {}
    last_dialogue = 0
    for row in rows:
        dialogue = int(row["i_dialog"])
        assert dialogue in (last_dialogue, last_dialogue + 1)
        last_dialogue = dialogue
        assert int(row["i_utterance"]) == position.get(dialogue, 0)
        position[dialogue] = position.get(dialogue, 0) + 1
        assert row["speaker"].strip() and row["utterance"].strip()
    assert all(5 <= n <= 14 for n in position.values())


def test_sample_submission_is_all_neutral_and_in_test_order():
    with open(SAMPLE / "sample_submission.csv", encoding="utf-8", newline="") as handle:
        rows = list(csv.reader(handle))
    assert rows[0] == ["Id", "Expected"]
    assert [row[0] for row in rows[1:]] == [row["id"] for row in read_test_file()[1]]
    assert {row[1] for row in rows[1:]} == {"neutral"}


@pytest.mark.slow  # of the sample alone: run it when sample/ changes
def test_previous_line_adds_at_least_eight_points_to_a_bag_of_words():
    pytest.importorskip("sklearn")
    rows = rows_with_previous()
    labels, groups = [row[2] for row in rows], [row[3] for row in rows]
    alone = oof_accuracy([[("cur", row[0])] for row in rows], labels, groups)
    both = oof_accuracy([[("cur", row[0]), ("prev", row[1])] for row in rows], labels, groups)
    print(f"\nbag of words, OOF accuracy: current {alone:.4f}, current + previous {both:.4f}")
    assert both - alone >= 0.08


def test_readme_counts_match_the_training_file():
    readme = (SAMPLE / "README.md").read_text(encoding="utf-8")
    counts = collections.Counter(row[2] for row in rows_with_previous())
    for label, n in counts.items():
        assert f"{label} {n}" in readme
    assert f"{sum(counts.values())} labelled utterances" in readme
    assert f"{len(train_dialogues())} dialogues" in readme
