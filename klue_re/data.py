"""KLUE-RE: the competition's TSV and the official JSON, as sentences with two entities each.

What train.py and predict.py want of a data.py, for a contest of your own too (docs/new_competition.md):

COMPETITION_FILES     option -> file name in data/
SUBMISSIONS           submission_format -> what is handed in
TaskArguments         the options of train.py
TaskPredictArguments  those of predict.py
make_preprocessing    args -> what read_examples() needs beside a file, a dict; label_names: the labels in the order of
                      the model's outputs
read_examples         path, preprocessing -> rows
apply_label_fixes     relabels rows of the training file

What a model's config.json has of its rows is entities.PREPROCESSING.
"""

import dataclasses
import difflib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from common.console import InputError, print_once
from common.examples import TextExample, check_id, check_text
from common.files import read_json_data
from common.guards.spelling import look, nfc, nfc_span
from common.options import TextPredictArguments, TextTaskArguments
from common.submission import SubmissionFormat, most_likely_label, most_likely_number, probability_list
from common.tables import read_table

COMPETITION_FILES = {
    "train_file": "train.tsv",
    "test_file": "test.tsv",
    "sample_submission_file": "sample_submission.csv",
    "ner_file": "ner.tsv",
}
SUBMISSIONS = {
    "competition": SubmissionFormat(None, {"pred": most_likely_number}),
    "klue": SubmissionFormat("id", {"pred_label": most_likely_label, "probs": probability_list}),
}
LABEL_FILE = Path(__file__).with_name("label_type.json")  # the competition's 42 labels
TOKENIZERS_OWN = ("PAD", "UNK", "CLS", "SEP", "MASK")  # in brackets they are BERT's
# Offsets that count something else than characters put entities that recur at wrong places.
FAR = 2
FEW_GUESSES, GUESSED_SHARE = 4, 0.01  # rows, at most, of which that is a mistake of their own
UNLABELLED = (None, "blind", "")  # what stands in the label column of a test file
TSV_COLUMNS = ["id", "sentence", "entity1", "e1_start", "e1_end", "entity2", "e2_start", "e2_end", "label"]
NER_COLUMNS = ["id", "type1", "type2"]

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
CONCAT = ["cls", "e1", "e2"]  # the default
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
FORMAT_HELP = "pred (label numbers in the test file's order), or KLUE's id, pred_label, probs"


@dataclass
class TaskArguments(TextTaskArguments):
    """Fields of train.py beside TrainingArguments."""

    DATA_FIELDS: ClassVar[tuple[str, ...]] = (*TextTaskArguments.DATA_FIELDS, "label_file", "label_fixes", "ner_file")
    OTHER_FILES: ClassVar[dict[str, str]] = {
        "train_file": "klue-re-v1.1_train.json",
        "eval_file": "klue-re-v1.1_dev.json",
        "label_file": "relation_list.json",
    }
    LIMITS: ClassVar[dict] = {"indicator_words": (0, None), "dropout": (0, 1)}
    TEMPLATE_FIELDS: ClassVar[tuple[str, ...]] = ()

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
        default_factory=lambda: list(CONCAT), metadata={"help": f"what is classified: {' '.join(TERMS)}"}
    )
    entity_pooling: Literal["mean", "first", "marker"] = field(
        default="mean",
        metadata={"help": "an entity's vector: mean of its tokens, its first token, or its opening marker"},
    )
    cls_pooling: Literal["pooler", "first", "last", "mean"] = field(
        default="first",
        metadata={
            "help": "the sentence's vector: the encoder's pooler (where there is one), the first token (of a decoder "
            "the last), the last, the mean"
        },
    )
    indicator_words: int = field(
        default=3, metadata={"help": "head indicators: words in front of the first and behind the second entity"}
    )
    dropout: float = field(default=0.1, metadata={"help": "in front of each layer of the head"})
    submission_format: Literal[tuple(SUBMISSIONS)] = field(default="competition", metadata={"help": FORMAT_HELP})

    def check(self, training_args: Any) -> None:
        """Also options that contradict each other or that would do nothing."""
        super().check(training_args)
        self.check_head()
        self.check_types()

    def check_head(self) -> None:
        """Raise InputError for what the head does not have."""
        if unknown := [term for term in self.concat if term not in TERMS]:
            raise InputError(f"concat: {unknown[0]!r} is not one of {' '.join(TERMS)}")
        if not self.concat or len(set(self.concat)) < len(self.concat):
            raise InputError(f"concat: {' '.join(self.concat)!r}, expected one term or more, each once")
        if self.dropout == 1:
            raise InputError(f"dropout: {self.dropout} is not below 1")
        defaults = {item.name: item.default for item in dataclasses.fields(self)}
        defaults["concat"] = CONCAT
        changed = [name for name in ENTITY_HEAD_FIELDS if getattr(self, name) != defaults[name]]
        if self.head == "baseline" and (changed or self.ner_as == "embedding"):
            name = [*changed, "ner_as"][0]
            value = " ".join(CONCAT) if name == "concat" else defaults[name]
            leave = f"leave it at {value}" if name in changed else "leave it out"
            wanted = f"expected head rbert or indicators; with baseline {leave}"
            raise InputError(f"{name}: head baseline does not have it, {wanted}")
        if self.head == "rbert" and "indicator_words" in changed:
            raise InputError("indicator_words: only head indicators has them")
        if self.entity_representation == "entity_mask" and self.entity_pooling == "marker":
            raise InputError("entity_pooling: entity_mask has no markers, expected mean or first")

    def check_types(self) -> None:
        """Raise InputError for a ner_as that does not go with the entity_representation."""
        typed = self.entity_representation in TYPED
        if self.ner_as == "embedding" and typed:
            what = "has the types in its text, for an embedding take entity_marker(_punct)"
            raise InputError(f"ner_as: {self.entity_representation} {what}")
        if self.ner_as in ("text", "special_tokens") and not typed:
            what = f"has no types in its text, expected one of {', '.join(TYPED)}"
            raise InputError(f"ner_as: {self.entity_representation} {what}")


@dataclass
class TaskPredictArguments(TextPredictArguments):
    """Fields of predict.py beside the common ones."""

    ner_file: str | None = field(
        default=None, metadata={"help": "TSV of id and the types of both entities, where the models read types"}
    )
    submission_format: Literal[tuple(SUBMISSIONS)] = field(default="competition", metadata={"help": FORMAT_HELP})


@dataclass
class Entity:
    """Characters start to end of a sentence, 0-based, both inclusive; type: what a named-entity tagger says, None where
    unknown."""

    start: int
    end: int
    type: str | None = None


@dataclass(kw_only=True)
class RelationExample(TextExample):
    """A sentence, the only segment, and the two entities whose relation is the label."""

    e1: Entity
    e2: Entity


def make_preprocessing(args: Any, label_names: list[str] | None = None) -> dict:
    """What read_examples() needs beside a file. Raises InputError that names file and place.

    label_names: in the order of the outputs; None: args.label_file's. ner: the types in args.ner_file, by id.
    """
    if label_names is None:
        label_names = read_label_names(args.label_file or LABEL_FILE)
    return {"label_names": label_names, "ner": read_ner(args.ner_file) if args.ner_file else {}}


def read_examples(
    path: str | Path, preprocessing: dict, note: Callable[[str], None] = print_once
) -> list[RelationExample]:
    """The rows of a TSV or KLUE JSON file in order; types of preprocessing["ner"] go before the file's own.

    A row's group is its sentence. note: what takes the sentence that counts the rows and the offsets that were
    repaired; train.py's goes into the report, too. Raises InputError that names file, row and column.
    """
    path = Path(path)
    label_names = preprocessing["label_names"]
    examples: list[RelationExample] = []
    first_row: dict[str, int] = {}
    repaired: list[int] = []
    guessed: list[int] = []
    for row, fields in read_klue_json(path) if path.suffix.lower() == ".json" else read_tsv(path, TSV_COLUMNS):
        where = f"{path}, row {row}"
        sentence = nfc(fields["sentence"])
        check_id(fields["id"], "id", row, first_row, path)
        check_text(sentence, f"{where}, column sentence")
        types = preprocessing["ner"].get(nfc(fields["id"]), (fields.get("type1"), fields.get("type2")))
        entities = []
        for number, kind in enumerate(types, start=1):
            stated = stated_span(fields, number, where)
            entity = find_entity(sentence, nfc(fields[f"entity{number}"]), stated, kind, number, where)
            entities.append(entity)
            if stated != (entity.start, entity.end) and row not in repaired:
                repaired.append(row)
            if is_guess(sentence, entity, stated) and row not in guessed:
                guessed.append(row)
        label = label_number(fields["label"], label_names, f"{where}, column label")
        group = " ".join(sentence.split())
        examples.append(RelationExample(fields["id"], [sentence], label, group, e1=entities[0], e2=entities[1]))
    if len(guessed) > max(FEW_GUESSES, len(examples) * GUESSED_SHARE):
        far = f"are more than {FAR} characters from their entities, which stand there several times"
        how = "characters from 0, both inclusive, were expected (not bytes, not UTF-16)"
        what = f"the offsets of {len(guessed)} of {len(examples):,} rows {far} (first: row {guessed[0]}); {how}"
        raise InputError(f"{path}: {what}")
    places = ", ".join(map(str, repaired[:10])) + ", ..." * (len(repaired) > 10)
    mended = f"{len(repaired)} of them with offsets that do not fit their entities, repaired (rows {places})"
    note(f"{path.name}: {len(examples):,} rows" + (f", {mended}" if repaired else ""))
    return examples


def stated_span(fields: dict[str, str], number: int, where: str) -> tuple[int, int]:
    """First and last character of entity 1 or 2 in nfc(sentence), as the file says. Raises InputError."""
    span = []
    for column in (f"e{number}_start", f"e{number}_end"):
        value = fields[column]
        if not (value.isdecimal() and value.isascii() and len(value) < 10):
            raise InputError(f"{where}, column {column}: {value!r:.80}, a character position from 0 was expected")
        span.append(int(value))
    return nfc_span(fields["sentence"], *span)


def find_entity(
    sentence: str, entity: str, stated: tuple[int, int], kind: str | None, number: int, where: str
) -> Entity:
    """Entity 1 or 2 at its stated place if it stands there, else at the nearest place where it does; at the stated one,
    too, where that has it but for case, width or white space and no other place is near. Raises InputError."""
    if not entity.strip():
        raise InputError(f"{where}, column entity{number}: is empty")
    start, end = stated
    if sentence[start : end + 1] != entity:
        places = [place for place in range(len(sentence)) if sentence.startswith(entity, place)]
        is_near = any(abs(place - start) <= FAR for place in places)
        if not is_near and look(entity) and look(sentence[start : end + 1]) == look(entity):
            return Entity(start, end, kind)
        if not places:
            found = f"characters {start} to {end} are {sentence[start : end + 1]!r:.80}"
            wanted = f"and {entity!r:.80} occurs nowhere in the sentence"
            raise InputError(f"{where}, column e{number}_start: {found}, {wanted}")
        start = min(places, key=lambda place: abs(place - start))
    return Entity(start, start + len(entity) - 1, kind)


def is_guess(sentence: str, entity: Entity, stated: tuple[int, int]) -> bool:
    """Whether an entity of which the sentence has several was found far from where the file says."""
    word = sentence[entity.start : entity.end + 1]
    return abs(entity.start - stated[0]) > FAR and sentence.find(word) != sentence.rfind(word)


def label_number(label: object, label_names: list[str], where: str) -> int:
    """-1 where the file does not say the label. Raises InputError for a name that is not one of label_names."""
    if label in UNLABELLED:
        return -1
    label = nfc(label) if isinstance(label, str) else label
    if label not in label_names:
        nearest = difflib.get_close_matches(str(label), label_names, n=1, cutoff=0.0)[0]
        known = f"the {len(label_names)} labels of label_file (nearest: {nearest})"
        raise InputError(f"{where}: {label!r:.80} is not one of {known}")
    return label_names.index(label)


def read_tsv(path: str | Path, columns: list[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """(line on which the row begins, its fields by column) of a tab-separated file without a header."""
    for row, fields in read_table(path, columns, tab_quotes=True).rows:
        yield row, dict(zip(columns, fields, strict=True))


def read_klue_json(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(entry, counted from 1, and its fields by TSV column, with type1 and type2) of klue-re-v1.1_*.json."""
    entries = read_json_data(path)
    if not isinstance(entries, list):
        wanted = "a list of objects with guid, sentence, subject_entity, object_entity and label was expected"
        raise InputError(f"{path}: {wanted}")
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
    return value


def read_ner(path: str | Path) -> dict[str, tuple[str, str]]:
    """id -> (type of entity 1, type of entity 2). Raises InputError that names file, row and column."""
    types: dict[str, tuple[str, str]] = {}
    first_row: dict[str, int] = {}
    for row, fields in read_tsv(path, NER_COLUMNS):
        check_id(fields["id"], "id", row, first_row, path)
        kinds = [entity_type(fields[column], f"{path}, row {row}, column {column}") for column in ("type1", "type2")]
        types[nfc(fields["id"])] = (kinds[0], kinds[1])
    return types


def entity_type(text: str, where: str) -> str:
    """Without spaces around it. Raises InputError where it is none: [text] can become a token of the vocabulary."""
    kind = nfc(text.strip())
    if not any(character.isalnum() for character in kind) or set(kind) & set("[]") or kind.upper() in TOKENIZERS_OWN:
        raise InputError(f"{where}: {text!r:.80}, a type such as PER was expected")
    return kind


def read_label_names(path: str | Path) -> list[str]:
    """Label names in the order of their numbers, from {label: number} or {"relations": [label, ...]}. Raises
    InputError."""
    content = read_json_data(path)
    if isinstance(content, dict) and isinstance(content.get("relations"), list) and all_text(content["relations"]):
        relations = content["relations"]
        if len(set(relations)) < len(relations):
            label = Counter(relations).most_common(1)[0][0]
            raise InputError(f"{path}: {label!r:.80} stands twice among the relations")
        content = {label: number for number, label in enumerate(relations)}
    if not isinstance(content, dict) or len(content) < 2 or any(type(number) is not int for number in content.values()):
        wanted = 'an object of label: number, or {"relations": [label, ...]}, with two labels or more was expected'
        raise InputError(f"{path}: {wanted}")
    if sorted(content.values()) != list(range(len(content))):
        raise InputError(f"{path}: the numbers of the {len(content)} labels are not 0 to {len(content) - 1}, each once")
    if reserved := {label for label in UNLABELLED if label in content}:
        raise InputError(f"{path}: {min(reserved)!r} is what a test file has in place of a label, it cannot be one")
    names = [nfc(label) for label in sorted(content, key=content.get)]
    if len(set(names)) < len(names):
        raise InputError(f"{path}: two of its labels differ only in how their letters are composed (NFC and NFD)")
    return names


def all_text(values: list) -> bool:
    return all(isinstance(value, str) for value in values)


def apply_label_fixes(examples: list[RelationExample], path: str | Path, label_names: list[str]) -> str:
    """Relabel the rows of [[row, id, old label, new label], ...], found by id, and say how many. Raises InputError."""
    fixes = read_json_data(path)
    if not isinstance(fixes, list):
        raise InputError(f"{path}: a list of [row, id, old label, new label] was expected")
    by_id = {nfc(example.id): example for example in examples}
    applied = 0
    for row, fix in enumerate(fixes, start=1):
        where = f"{path}, row {row}"
        if not (isinstance(fix, list) and len(fix) == 4 and all_text(fix[1:])):
            raise InputError(f"{where}: [row, id, old label, new label] was expected")
        _, example_id, old_name, new_name = fix
        old = label_number(old_name, label_names, f"{where}, column old")
        new = label_number(new_name, label_names, f"{where}, column new")
        if new < 0:
            raise InputError(f"{where}, column new: {new_name!r} is no label")
        if nfc(example_id) not in by_id:
            continue
        example = by_id[nfc(example_id)]
        if example.label != old:
            found = label_names[example.label] if example.label >= 0 else "unknown"
            expected = f"has label {found} in train_file, expected {old_name}"
            raise InputError(f"{where}, column old: {example_id} {expected}")
        example.label = new
        applied += 1
    if fixes and not applied:
        raise InputError(f"{path}: none of its {len(fixes)} ids is in train_file")
    return f"label_fixes: {applied} rows relabelled, {len(fixes) - applied} more are not in train_file"
