"""What can be measured of a data set and a model before training: features.json, for search --recommend."""

import unicodedata
from collections.abc import Sequence

import datasets
import numpy as np
import torch
from transformers import PreTrainedModel

from common.batches import row_lengths
from common.examples import TextExample, labels_of
from common.files import write_json
from common.run import Run

ROWS = 500  # that are looked at for scripts and word vectors


def write_features(
    run: Run, examples: Sequence[TextExample], tokenized: datasets.Dataset, model: PreTrainedModel
) -> None:
    """measure() of a run's training rows, into its folder."""
    features = measure(examples, tokenized, model.config.num_labels, model)
    if run.state.is_main_process:
        write_json(run.record_dir / "features.json", features)


def measure(
    examples: Sequence[TextExample], tokenized: datasets.Dataset, num_labels: int, model: PreTrainedModel
) -> dict[str, float]:
    """Features of training rows, as read and as tokenized, and of the model that is to learn them.

    rows, classes            counts; classes without a row count, too
    imbalance                1 - entropy of the labels / ln(classes): 0 for equal classes
    hangul, latin            shares of the letters (of 500 rows)
    tokens, long_tokens, max_tokens    mean, 95 % quantile and most of the tokens per row
    vector_mean, vector_variance       of the entries of the word vectors of these rows' tokens
    parameters, layers, hidden         of the model: parameters without word vectors, layers, width
    """
    imbalance = measure_imbalance(labels_of(examples), num_labels)
    lengths = row_lengths(tokenized)
    chosen = np.sort(np.random.default_rng(0).permutation(len(examples))[:ROWS])
    letters = [
        character for row in chosen for text in examples[row].segments for character in text if character.isalpha()
    ]
    scripts = [unicodedata.name(letter, "").split(" ")[0] for letter in letters]
    ids = np.unique(np.concatenate([np.asarray(row) for row in tokenized.select(chosen)["input_ids"]]))
    embeddings = model.get_input_embeddings().weight.detach()
    vectors = embeddings[torch.from_numpy(ids)].float()
    encoder = model.base_model.config
    return {
        "rows": len(examples),
        "classes": num_labels,
        "imbalance": imbalance,
        "hangul": scripts.count("HANGUL") / max(1, len(scripts)),
        "latin": scripts.count("LATIN") / max(1, len(scripts)),
        "tokens": float(lengths.mean()),
        "long_tokens": float(np.quantile(lengths, 0.95)),
        "max_tokens": int(lengths.max()),
        "vector_mean": float(vectors.mean()),
        "vector_variance": float(vectors.var()),
        "parameters": sum(parameter.numel() for parameter in model.parameters()) - embeddings.numel(),
        "layers": encoder.num_hidden_layers,
        "hidden": encoder.hidden_size,
    }


def measure_imbalance(labels: np.ndarray, num_labels: int) -> float:
    """1 - entropy of the classes, or of the labels that rows have, / ln(their number); 0 of numbers."""
    if num_labels == 1:
        return 0.0
    counts = np.bincount(labels, minlength=num_labels) if labels.ndim == 1 else labels.sum(axis=0)
    shares = counts / counts.sum()
    entropy = -np.sum(shares[shares > 0] * np.log(shares[shares > 0]))
    return float(1 - entropy / np.log(num_labels))
