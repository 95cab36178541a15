"""KLUE-RE: the competition's TSV and the official JSON, as sentences with two entities each.

For a contest of your own, change COMPETITION_FILES, label_type.json, the fields and read_examples().
"""

import csv
import dataclasses
import difflib
import io
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from common.console import InputError
from common.examples import Entity, RelationExample
from common.files import read_json_data, read_text
from common.logits import Logits
from common.options.fields import DATA_FIELDS, DataArguments, ModelArguments, TextArguments, TuningArguments

COMPETITION_FILES = {
    "train_file": "train.tsv",
    "test_file": "test.tsv",
    "sample_submission_file": "sample_submission.csv",
    "ner_file": "ner.tsv",
}
LABEL_FILE = Path(__file__).with_name("label_type.json")  # the competition's 42 labels
TOKENIZERS_OWN = ("PAD", "UNK", "CLS", "SEP", "MASK")  # in brackets they are BERT's
UNLABELLED = (None, "blind")  # what stands in the label column of a test file
TSV_COLUMNS = ["id", "sentence", "entity1", "e1_start", "e1_end", "entity2", "e2_start", "e2_end", "label"]
LONGEST_SENTENCE = 10_000  # characters; the competition's longest has 510, so more is a file that was read wrong
# What a submission holds: the column of ids (None: rows in the order of the test file), then the others.
SUBMISSION_FORMATS = {"competition": (None, ["pred"]), "klue": ("id", ["pred_label", "probs"])}

# Zhou & Chen 2021 "An Improved Baseline for Sentence-level Relation Extraction" (arXiv 2102.01373), table 1.
REPRESENTATIONS = (
    "entity_mask",
    "entity_marker",
    "entity_marker_punct",
    "typed_entity_marker",
    "typed_entity_marker_punct",
)
TYPED = ("entity_mask", "typed_entity_marker", "typed_entity_marker_punct")
TERMS = ("cls", "e1", "e2", "e1*e2", "|e1-e2|", "cls*e1", "cls*e2")
# Fields that only the heads over entity vectors have; the baseline is a stock sequence classifier.
ENTITY_HEAD_FIELDS = (
    "entity_layer",
    "activation",
    "concat",
    "entity_pooling",
    "cls_pooling",
    "indicator_words",
    "dropout",
)
MODEL_FIELDS = (
    "head",
    "entity_layer",
    "activation",
    "concat",
    "cls_pooling",
    "dropout",
)  # RBertConfig has them by the same names


@dataclass
class TaskArguments(TuningArguments, TextArguments, ModelArguments, DataArguments):  # --help begins with the last
    """Fields of train.py beside TrainingArguments."""

    DATA_FIELDS: ClassVar[tuple[str, ...]] = (*DATA_FIELDS, "label_file", "label_fixes", "ner_file")

    max_length: str = field(
        default="128",
        metadata={"help": "tokens per row, or auto: the shortest that covers 99.5 %% of the training rows"},
    )
    label_file: str | None = field(
        default=None,
        metadata={
            "help": "JSON of label -> number, or KLUE's relation_list.json; default: label_type.json beside data.py"
        },
    )
    label_fixes: str | None = field(
        default=None, metadata={"help": "JSON of [row, id, old label, new label] to relabel in train_file"}
    )
    ner_file: str | None = field(
        default=None, metadata={"help": "TSV of id and the types of both entities; the KLUE JSON has its own"}
    )
    entity_representation: Literal[REPRESENTATIONS] = field(
        default="entity_marker_punct",
        metadata={"help": "how the sentence shows its entities (arXiv 2102.01373, table 1)"},
    )
    ner_as: Literal["text", "special_tokens", "embedding"] | None = field(
        default=None,
        metadata={
            "help": "how the model reads entity types; default: as the paper of the entity_representation has it"
        },
    )
    long_examples: Literal["drop", "window"] = field(
        default="window",
        metadata={"help": "rows longer than max_length: not trained on, or cut to the text around both entities"},
    )
    head: Literal["rbert", "baseline", "indicators"] = field(
        default="rbert",
        metadata={"help": "R-BERT, a stock sequence classifier, or R-BERT with the words around the entities too"},
    )
    entity_layer: Literal["shared", "split"] = field(
        default="split", metadata={"help": "one layer for both entities, or one for each"}
    )
    activation: Literal["tanh", "gelu"] = field(
        default="tanh", metadata={"help": "in front of the fully connected layers"}
    )
    concat: list[str] = field(
        default_factory=lambda: ["cls", "e1", "e2"], metadata={"help": f"what is classified: {' '.join(TERMS)}"}
    )
    entity_pooling: Literal["mean", "first", "marker"] = field(
        default="mean",
        metadata={"help": "an entity's vector: mean of its tokens, its first token, or its opening marker"},
    )
    cls_pooling: Literal["pooler", "first", "mean"] = field(
        default="first",
        metadata={
            "help": "the sentence's vector: the encoder's pooler (where there is one), the first token, the mean"
        },
    )
    indicator_words: int = field(
        default=3, metadata={"help": "head indicators: words in front of the first and behind the second entity"}
    )
    dropout: float = field(default=0.1, metadata={"help": "in front of each layer of the head"})
    submission_format: Literal[tuple(SUBMISSION_FORMATS)] = field(
        default="competition",
        metadata={"help": "pred (label numbers in the test file's order), or KLUE's id, pred_label, probs"},
    )


def check_options(args: TaskArguments) -> None:
    """Raise InputError for options that contradict each other or that would do nothing."""
    if unknown := [term for term in args.concat if term not in TERMS]:
        raise InputError(f"concat: {unknown[0]!r} is not one of {' '.join(TERMS)}")
    if not args.concat or len(set(args.concat)) < len(args.concat):
        raise InputError(f"concat: {' '.join(args.concat)!r}, expected one term or more, each once")
    defaults = {
        item.name: item.default_factory() if item.name == "concat" else item.default
        for item in dataclasses.fields(args)
    }
    changed = [name for name in ENTITY_HEAD_FIELDS if getattr(args, name) != defaults[name]]
    if args.head == "baseline" and (changed or args.ner_as == "embedding"):
        name = [*changed, "ner_as"][0]
        value = " ".join(defaults[name]) if name == "concat" else defaults[name]
        leave = f"leave it at {value}" if name in changed else "leave it out"
        raise InputError(
            f"{name}: head baseline does not have it, expected head rbert or indicators; with baseline {leave}"
        )
    if args.head == "rbert" and "indicator_words" in changed:
        raise InputError("indicator_words: only head indicators has them")
    if not 0 <= args.dropout < 1:
        raise InputError(f"dropout: {args.dropout} is not at least 0 and below 1")
    if args.entity_representation == "entity_mask" and args.entity_pooling == "marker":
        raise InputError("entity_pooling: entity_mask has no markers, expected mean or first")
    typed = args.entity_representation in TYPED
    if args.ner_as == "embedding" and typed:
        raise InputError(
            f"ner_as: {args.entity_representation} has the types in its text, for an embedding take "
            "entity_marker(_punct)"
        )
    if args.ner_as in ("text", "special_tokens") and not typed:
        raise InputError(
            f"ner_as: {args.entity_representation} has no types in its text, expected one of {', '.join(TYPED)}"
        )


def read_label_names(path: str | Path) -> list[str]:
    """Label names in the order of their numbers, from {label: number} or {"relations": [label, ...]}. Raises
    InputError."""
    content = read_json_data(path)
    if isinstance(content, dict) and isinstance(content.get("relations"), list) and all_text(content["relations"]):
        if len(set(content["relations"])) < len(content["relations"]):
            raise InputError(
                f"{path}: {Counter(content['relations']).most_common(1)[0][0]!r:.80} stands twice among the relations"
            )
        content = {label: number for number, label in enumerate(content["relations"])}
    if not isinstance(content, dict) or len(content) < 2 or any(type(number) is not int for number in content.values()):
        raise InputError(
            f'{path}: an object of label: number, or {{"relations": [label, ...]}}, with two labels or more was '
            "expected"
        )
    if sorted(content.values()) != list(range(len(content))):
        raise InputError(f"{path}: the numbers of the {len(content)} labels are not 0 to {len(content) - 1}, each once")
    if reserved := {label for label in UNLABELLED if label in content}:
        raise InputError(f"{path}: {min(reserved)!r} is what a test file has in place of a label, it cannot be one")
    return sorted(content, key=content.get)


def all_text(values: list) -> bool:
    return all(isinstance(value, str) for value in values)


def read_tsv(path: str | Path, columns: list[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """(line on which the row begins, its fields by column) of a tab-separated file without a header, CSV quotes
    undone."""
    reader = csv.reader(io.StringIO(read_text(path), newline=""), delimiter="\t", strict=True)
    row = 1
    try:
        for fields in reader:
            if fields:
                if len(fields) != len(columns):
                    raise InputError(
                        f"{path}, row {row}: {len(fields)} fields, expected {len(columns)} with tabs "
                        f"({' '.join(columns)})"
                    )
                yield row, dict(zip(columns, fields, strict=True))
            row = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{path}, row {row}: is not tab-separated text with CSV quotes ({error})") from error


def read_ner(path: str | Path) -> dict[str, tuple[str, str]]:
    """id -> (type of entity 1, type of entity 2). Raises InputError that names file, row and column."""
    types: dict[str, tuple[str, str]] = {}
    for row, fields in read_tsv(path, ["id", "type1", "type2"]):
        if fields["id"] in types:
            raise InputError(f"{path}, row {row}, column id: {fields['id']!r:.80} is repeated")
        first, second = (
            entity_type(fields[column], f"{path}, row {row}, column {column}") for column in ("type1", "type2")
        )
        types[fields["id"]] = first, second
    return types


def entity_type(text: str, where: str) -> str:
    """Without spaces around it. Raises InputError where it is none: [text] can become a token of the vocabulary."""
    kind = text.strip()
    if not any(character.isalnum() for character in kind) or set(kind) & set("[]") or kind.upper() in TOKENIZERS_OWN:
        raise InputError(f"{where}: {text!r:.80}, a type such as PER was expected")
    return kind


def read_examples(
    path: str | Path, label_names: list[str], ner: dict[str, tuple[str, str]]
) -> tuple[list[RelationExample], str]:
    """The rows of a TSV or KLUE JSON file in order, and a sentence that counts them and the offsets that were repaired.

    ner: types by id, which go before the file's own. A row's group is its sentence. Raises InputError that names file,
    row and column.
    """
    path = Path(path)
    if path.suffix.lower() not in (".tsv", ".txt", ".json"):
        raise InputError(f"{path}: a .tsv (competition) or .json (KLUE) file was expected")
    rows = read_klue_json(path) if path.suffix.lower() == ".json" else read_tsv(path, TSV_COLUMNS)
    examples: list[RelationExample] = []
    first_row: dict[str, int] = {}
    repaired: list[int] = []
    for row, fields in rows:
        where = f"{path}, row {row}"
        sentence = fields["sentence"]
        if not fields["id"].strip():
            raise InputError(f"{where}, column id: is empty")
        if fields["id"] in first_row:
            raise InputError(
                f"{where}, column id: {fields['id']!r:.80} is repeated, expected in row {first_row[fields['id']]} only"
            )
        first_row[fields["id"]] = row
        if len(sentence) > LONGEST_SENTENCE:
            much = f"has {len(sentence):,} characters, more than {LONGEST_SENTENCE:,}; is a quote left open?"
            raise InputError(f"{where}, column sentence: {much}")
        types = ner.get(fields["id"], (fields.get("type1"), fields.get("type2")))
        entities = []
        for number, kind in enumerate(types, start=1):
            start = find_entity(
                sentence, fields[f"entity{number}"], fields[f"e{number}_start"], fields[f"e{number}_end"], where, number
            )
            stated = int(fields[f"e{number}_start"]), int(fields[f"e{number}_end"])
            entities.append(Entity(start, start + len(fields[f"entity{number}"]) - 1, kind))
            if stated != (entities[-1].start, entities[-1].end) and row not in repaired:
                repaired.append(row)
        label = label_number(fields["label"], label_names, f"{where}, column label")
        group = " ".join(sentence.split())
        examples.append(RelationExample(fields["id"], [sentence], label, group, e1=entities[0], e2=entities[1]))
    note = f"{path.name}: {len(examples):,} rows"
    if repaired:
        places = ", ".join(map(str, repaired[:10])) + ", ..." * (len(repaired) > 10)
        note += f", {len(repaired)} of them with offsets that do not fit their entities, repaired (rows {places})"
    return examples, note


def find_entity(sentence: str, entity: str, start: str, end: str, where: str, number: int) -> int:
    """Where the entity begins: at its stated offset if it stands there, else at the nearest place where it does. Raises
    InputError."""
    if not entity.strip():
        raise InputError(f"{where}, column entity{number}: is empty")
    for name, value in (("start", start), ("end", end)):
        if not (value.isdecimal() and value.isascii() and len(value) < 10):
            raise InputError(
                f"{where}, column e{number}_{name}: {value!r:.80}, a character position from 0 was expected"
            )
    if sentence[int(start) : int(end) + 1] == entity:
        return int(start)
    places = [place for place in range(len(sentence)) if sentence.startswith(entity, place)]
    if not places:
        found = f"characters {start} to {end} are {sentence[int(start) : int(end) + 1]!r:.80}"
        raise InputError(f"{where}, column e{number}_start: {found}, and {entity!r:.80} occurs nowhere in the sentence")
    return min(places, key=lambda place: abs(place - int(start)))


def label_number(label: object, label_names: list[str], where: str) -> int:
    """-1 where the file does not say the label. Raises InputError for a name that is not one of label_names."""
    if label in UNLABELLED:
        return -1
    if label not in label_names:
        nearest = difflib.get_close_matches(str(label), label_names, n=1, cutoff=0.0)[0]
        raise InputError(
            f"{where}: {label!r:.80} is not one of the {len(label_names)} labels of label_file (nearest: {nearest})"
        )
    return label_names.index(label)


def read_klue_json(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(entry, counted from 1, and its fields by TSV column, with type1 and type2) of klue-re-v1.1_*.json."""
    entries = read_json_data(path)
    if not isinstance(entries, list):
        raise InputError(
            f"{path}: a list of objects with guid, sentence, subject_entity, object_entity and label was expected"
        )
    for row, entry in enumerate(entries, start=1):
        where = f"{path}, row {row}"
        fields = {
            "id": get(entry, "guid", str, where),
            "sentence": get(entry, "sentence", str, where),
            "label": entry.get("label"),
        }
        for number, name in enumerate(("subject_entity", "object_entity"), start=1):
            entity = get(entry, name, dict, where)
            inside = f"{where}, column {name}"
            fields[f"entity{number}"] = get(entity, "word", str, inside)
            fields[f"e{number}_start"] = str(get(entity, "start_idx", int, inside))
            fields[f"e{number}_end"] = str(get(entity, "end_idx", int, inside))
            fields[f"type{number}"] = entity_type(get(entity, "type", str, inside), f"{inside}, column type")
        yield row, fields


def get(entry: object, key: str, kind: type, where: str) -> Any:
    """entry[key], which must be of this type. Raises InputError."""
    if not isinstance(entry, dict):
        raise InputError(f"{where}: is {type(entry).__name__}, an object was expected")
    value = entry.get(key)
    if type(value) is not kind:
        found = "is missing" if key not in entry else f"is {type(value).__name__}"
        raise InputError(f"{where}, column {key}: {found}, {kind.__name__} was expected")
    if kind is str and any("\ud800" <= character <= "\udfff" for character in value):
        raise InputError(
            f"{where}, column {key}: holds half a surrogate pair (\\ud800 to \\udfff), whole characters were expected"
        )
    return value


def apply_label_fixes(examples: list[RelationExample], path: str | Path, label_names: list[str]) -> str:
    """Relabel the rows of [[row, id, old label, new label], ...], found by id, and say how many. Raises InputError."""
    fixes = read_json_data(path)
    by_id = {example.id: example for example in examples}
    applied = 0
    if not isinstance(fixes, list):
        raise InputError(f"{path}: a list of [row, id, old label, new label] was expected")
    for row, fix in enumerate(fixes, start=1):
        if not (isinstance(fix, list) and len(fix) == 4 and all_text(fix[1:])):
            raise InputError(f"{path}, row {row}: [row, id, old label, new label] was expected")
        _, example_id, *labels = fix
        old, new = (
            label_number(label, label_names, f"{path}, row {row}, column {name}")
            for label, name in zip(labels, ("old", "new"), strict=True)
        )
        if new < 0:
            raise InputError(f"{path}, row {row}, column new: {labels[1]!r} is no label")
        if example_id not in by_id:
            continue
        if by_id[example_id].label != old:
            found = label_names[by_id[example_id].label] if by_id[example_id].label >= 0 else "unknown"
            raise InputError(
                f"{path}, row {row}, column old: {example_id} has label {found} in train_file, expected {labels[0]}"
            )
        by_id[example_id].label = new
        applied += 1
    if fixes and not applied:
        raise InputError(f"{path}: none of its {len(fixes)} ids is in train_file")
    return f"label_fixes: {applied} rows relabelled, {len(fixes) - applied} more are not in train_file"


def drop_rows(
    splits: list[tuple[np.ndarray, np.ndarray | None]], dropped: np.ndarray, labels: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """The splits without the dropped rows, (N,) bool, to train on; they are still predicted. Raises InputError where
    too few are left."""
    splits = [(train_idx[~dropped[train_idx]], eval_idx) for train_idx, eval_idx in splits]
    if any(len(np.unique(labels[train_idx])) < 2 for train_idx, _ in splits):
        raise InputError(
            "long_examples: drop leaves a fold with fewer than two classes to train on; raise max_length, or take "
            "window"
        )
    return splits


def submission_columns(logits: Logits, submission_format: str) -> dict[str, list[str]]:
    """The columns of SUBMISSION_FORMATS: label numbers, or label names and the probabilities of all labels as a JSON
    list."""
    numbers = logits.logits.argmax(axis=1)
    if submission_format == "competition":
        return {"pred": [str(number) for number in numbers]}
    probabilities = [json.dumps([round(float(p), 6) for p in row]) for row in logits.probabilities()]
    return {"pred_label": [logits.label_names[number] for number in numbers], "probs": probabilities}
