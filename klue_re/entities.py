"""What the model reads of a sentence with two entities: marked text, and which token belongs to what.

A sentence is cut where an entity begins or ends; between the pieces stand markers, and all are separated by spaces, so
that no token belongs half to an entity. (In Korean this separates an entity from the particle behind it.)
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import datasets
import numpy as np
from transformers import PreTrainedTokenizerBase

from common.console import InputError, print_once
from common.text import PairFormat, choose_max_length, write_rows
from common.tricks.token_cache import token_ids

if TYPE_CHECKING:
    from data import Entity, RelationExample

# How the typed-marker paper has the model read the types; the other representations have none.
NER_AS = {"entity_mask": "special_tokens", "typed_entity_marker": "special_tokens", "typed_entity_marker_punct": "text"}
# KLUE's six types in words, for the representation that spells them out; other types stand for themselves.
TYPE_WORDS = {"PER": "사람", "ORG": "단체", "LOC": "장소", "DAT": "날짜", "POH": "이름", "NOH": "수량"}


@dataclass
class EntityFormat:
    """All that a row's tokens depend on beside the tokenizer and max_length; it travels in the model's config.json."""

    head: str
    entity_representation: str
    ner_as: str | None  # text, special_tokens, embedding; None: types are not read
    # of special tokens and of the embedding's rows 1, 2, ...; row 0 is for all tokens outside of entities
    ner_types: list[str]
    entity_pooling: str
    indicator_words: int

    @classmethod
    def of(cls, args: Any, examples: Sequence["RelationExample"]) -> "EntityFormat":
        """From the fields of TaskArguments and all rows that will be trained on, evaluated or predicted.

        Raises InputError where a representation needs types and a row has none.
        """
        ner_as = args.ner_as or NER_AS.get(args.entity_representation)
        types: set[str] = set()
        if ner_as:
            check_types(examples)
            types = {entity.type for example in examples for entity in (example.e1, example.e2)}
        elif args.ner_file:
            how = "a typed one does, or --ner_as embedding"
            print_once(f"ner_file: {args.entity_representation} reads no types; {how}")
        if ner_as == "text":
            types = set()  # words of the vocabulary: any type can be read
        return cls(
            head=args.head,
            entity_representation=args.entity_representation,
            ner_as=ner_as,
            ner_types=sorted(types),
            entity_pooling=args.entity_pooling,
            indicator_words=args.indicator_words,
        )

    @property
    def num_ner_types(self) -> int:
        """Rows of the embedding beside row 0; 0: there is none."""
        return len(self.ner_types) if self.ner_as == "embedding" else 0

    def special_tokens(self) -> list[str]:
        """Markers and types that become tokens of the vocabulary."""
        tokens = []
        if self.entity_representation == "entity_marker":
            tokens = ["[E1]", "[/E1]", "[E2]", "[/E2]"]
        if self.ner_as == "special_tokens":
            for kind in self.ner_types:
                if self.entity_representation == "typed_entity_marker_punct":
                    tokens.append(f"[{kind}]")
                else:
                    tokens += [token for number in (1, 2) for token in self.markers(number, kind) if token]
        return tokens

    def markers(self, number: int, kind: str | None) -> tuple[str, str]:
        """What stands in front of entity 1 or 2 and behind it; of the mask, what stands in its place, and nothing."""
        if self.entity_representation == "entity_mask":
            return f"[{('SUBJ', 'OBJ')[number - 1]}-{kind}]", ""
        if self.entity_representation == "entity_marker":
            return f"[E{number}]", f"[/E{number}]"
        if self.entity_representation == "typed_entity_marker":
            return f"[E{number}-{kind}]", f"[/E{number}-{kind}]"
        mark, around = (("@", "*"), ("#", "∧"))[number - 1]
        if self.entity_representation == "entity_marker_punct":
            return mark, mark
        word = f"[{kind}]" if self.ner_as == "special_tokens" else TYPE_WORDS.get(kind, kind.lower().replace("_", " "))
        return f"{mark} {around} {word} {around}", mark

    def preprocessing(self, max_length: int) -> dict[str, Any]:
        """What config.json keeps, by the names of PREPROCESSING."""
        return {**asdict(self), "max_length": max_length}

    @classmethod
    def of_preprocessing(cls, preprocessing: dict[str, Any]) -> tuple["EntityFormat", int]:
        """(the format, max_length) of a model's config.json."""
        values = dict(preprocessing)
        max_length = values.pop("max_length")
        return cls(**values), max_length


PREPROCESSING = (*(item.name for item in fields(EntityFormat)), "max_length")


def check_types(examples: Sequence["RelationExample"], known: Sequence[str] = ()) -> None:
    """Raise InputError for a row without entity types or, where known ones are given, with another."""
    for example in examples:
        for entity in (example.e1, example.e2):
            if entity.type is None:
                raise InputError(
                    f"ner_file: id {example.id} has no entity types, which this entity_representation needs; "
                    "name a --ner_file (id, type of entity 1, type of entity 2) that has all rows, or take KLUE's JSON"
                )
            if known and entity.type not in known:
                raise InputError(
                    f"ner_file: id {example.id} has type {entity.type!r:.80}, and the model knows only "
                    f"{', '.join(known)}"
                )


@dataclass
class Token:
    """A token and what it belongs to."""

    id: int
    e1: bool = False
    e2: bool = False
    marker: int = 0  # 0: none, 1 or 2: opens that entity, -1: closes one
    indicator: bool = False
    ner: int = 0


@dataclass
class MarkedRow:
    """A row's tokens, without the tokenizer's own [CLS] and [SEP], uncut."""

    id: str
    label: int
    tokens: list[Token]


def mark(example: "RelationExample", form: EntityFormat) -> list[tuple[str, Token]]:
    """The pieces of the marked sentence in order, each with what its tokens are (their id still 0)."""
    sentence = example.segments[0]
    entities = {1: example.e1, 2: example.e2}
    masked = form.entity_representation == "entity_mask"
    first, second = sorted(entities.values(), key=lambda entity: (entity.start, entity.end))
    points = sorted(
        {0, len(sentence)} | {point for entity in entities.values() for point in (entity.start, entity.end + 1)}
    )
    pieces: list[tuple[str, Token]] = []
    for start, end in zip(points, [*points[1:], len(sentence)], strict=True):
        closing = [number for number, entity in entities.items() if entity.end + 1 == start]
        opening = [number for number, entity in entities.items() if entity.start == start]
        for number in sorted(closing, key=lambda number: (-entities[number].start, -number)):  # the inner one first
            pieces.append((form.markers(number, entities[number].type)[1], Token(0, marker=-1)))
        for number in sorted(opening, key=lambda number: (-entities[number].end, number)):  # the outer one first
            # a mask is also the entity
            token = Token(0, e1=masked and number == 1, e2=masked and number == 2, marker=number)
            pieces.append((form.markers(number, entities[number].type)[0], token))
        inside = [number for number, entity in entities.items() if entity.start <= start <= entity.end]
        text = sentence[start:end]
        if inside and not masked:
            ner = 1 + form.ner_types.index(entities[inside[0]].type) if form.ner_as == "embedding" else 0
            pieces.append((text, Token(0, e1=1 in inside, e2=2 in inside, ner=ner)))
        elif not inside:
            pieces += around(text, start, first, second, form)
    return [(text.strip(), token) for text, token in pieces if text.strip()]


def around(text: str, start: int, first: "Entity", second: "Entity", form: EntityFormat) -> list[tuple[str, Token]]:
    """A piece outside of both entities, cut into what indicates the relation (head indicators) and what does not.

    Indicators are the words between the entities, and indicator_words in front of the first and behind the last. Tao et
    al. 2019 "Enhancing Relation Extraction Using Syntactic Indicators and Sentential Contexts" (arXiv 1912.01858)
    choose them by syntax, which needs a parser; here they are chosen by position.
    """
    words = text.split()
    near = form.indicator_words
    if form.head != "indicators":
        parts = [(text, False)]
    elif start < first.start:
        cut = max(0, len(words) - near)
        parts = [(" ".join(words[:cut]), False), (" ".join(words[cut:]), True)]
    elif start > max(first.end, second.end):
        parts = [(" ".join(words[:near]), True), (" ".join(words[near:]), False)]
    else:
        parts = [(text, True)]
    return [(part, Token(0, indicator=indicator)) for part, indicator in parts]


def marked_texts(examples: Sequence["RelationExample"], form: EntityFormat) -> list[str]:
    """What the model reads of each row, without the tokens that are added to the vocabulary."""
    special = set(form.special_tokens())
    return [" ".join(text for text, _ in mark(example, form) if text not in special) for example in examples]


def mark_and_tokenize(
    examples: Sequence["RelationExample"], form: EntityFormat, tokenizer: PreTrainedTokenizerBase
) -> list[MarkedRow]:
    """The examples' rows, in order. Raises InputError where a type has no token or no row of the embedding, or an
    entity has no token.

    What looks like a token of the tokenizer's own inside a sentence ([SEP]) is read as text.
    """
    if form.ner_as:
        check_types(examples, form.ner_types)
    marked = [mark(example, form) for example in examples]
    special = set(form.special_tokens())
    ids_of: dict[tuple[str, bool], list[int]] = {}  # by text and whether it is a marker
    for is_marker in (True, False):
        found = (text for pieces in marked for text, token in pieces if bool(token.marker) == is_marker)
        texts = list(dict.fromkeys(found))
        if texts:
            # a space in front, because all pieces but the sentence's first word follow one, and tokenizers of bytes
            # tell the difference
            spaced = [text if is_marker and text in special else f" {text}" for text in texts]
            ids = token_ids(spaced, tokenizer, split_special_tokens=not is_marker)
            ids_of |= zip(((text, is_marker) for text in texts), ids, strict=True)
    unknown = {text for (text, is_marker), ids in ids_of.items() if is_marker and tokenizer.unk_token_id in ids}
    if unknown:
        names = ", ".join(sorted(unknown))
        print_once(
            f"warning: the tokenizer does not know all of the markers {names}; take another entity_representation"
        )
    rows = []
    for example, pieces in zip(examples, marked, strict=True):
        tokens = []
        for text, token in pieces:
            ids = ids_of[text, bool(token.marker)]
            tokens += [Token(number, token.e1, token.e2, token.marker, token.indicator, token.ner) for number in ids]
        for number, seen in ((1, any(token.e1 for token in tokens)), (2, any(token.e2 for token in tokens))):
            if not seen:
                reason = "its characters are none that the tokenizer keeps"
                raise InputError(f"id {example.id}: entity {number} has no token, {reason}")
        rows.append(MarkedRow(example.id, example.label, tokens))
    return rows


def find_max_length(
    rows: dict[str, Sequence[MarkedRow]], tokenizer: PreTrainedTokenizerBase, max_length: str
) -> tuple[int, np.ndarray]:
    """(tokens per row, (N,) bool: the rows that are longer) for max_length, a number or `auto`, over rows["train"].

    Raises InputError where the markers and entities of a row, of any file, cannot be kept.
    """
    special = PairFormat.of(tokenizer).num_special(1)
    lengths = np.array([len(row.tokens) + special for row in rows["train"]])
    length = choose_max_length(lengths, tokenizer, max_length, special)
    for part in rows.values():
        for row in part:
            window(row, length - special)
    return length, lengths > length


def window(row: MarkedRow, room: int) -> list[Token]:
    """At most `room` tokens of the row, in order: all markers, then the entities from their beginnings, then what is
    nearest to them.

    Raises InputError where the markers and the first token of each entity need more.
    """
    if len(row.tokens) <= room:
        return row.tokens
    kept = np.array([i for i, token in enumerate(row.tokens) if token.marker or token.e1 or token.e2])
    seen = [0, 0]  # tokens of entity 1 and 2 so far
    ranks = []
    for i, token in enumerate(row.tokens):
        inside = (token.e1, token.e2)
        seen = [count + belongs for count, belongs in zip(seen, inside, strict=True)]
        if token.marker:
            ranks.append(0)
        elif any(inside):
            ranks.append(min(count for count, belongs in zip(seen, inside, strict=True) if belongs))
        else:
            ranks.append(len(row.tokens) + int(np.abs(kept - i).min()))
    needed = sum(rank <= 1 for rank in ranks)
    if needed > room:
        needs = f"the markers and entities of id {row.id}, {needed} tokens beside [CLS] and [SEP]"
        raise InputError(f"max_length: too short for {needs}")
    return [row.tokens[i] for i in sorted(np.argsort(ranks, kind="stable")[:room])]


def tokenize(
    rows: Sequence[MarkedRow],
    form: EntityFormat,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    cache_file: str | Path | None = None,
) -> datasets.Dataset | list[dict]:
    """Rows of id, labels, what the tokenizer gives, and numbers per token, as write_rows() keeps them.

    The numbers are e1_mask and e2_mask (1: this token's state is averaged into the entity's vector), indicator_mask
    (head indicators) and ner_ids (ner_as embedding). The baseline has none of them. Nothing is padded:
    common.text.Collator does.
    """
    pair_format = PairFormat.of(tokenizer)
    room = max_length - pair_format.num_special(1)
    before = len(pair_format.prefix)
    behind = len(pair_format.suffix)

    def columns(tokens: list[Token]) -> dict[str, list[int]]:
        if form.head == "baseline":
            return {}
        per_token = {f"e{number}_mask": pooling_mask(tokens, number, form.entity_pooling) for number in (1, 2)}
        if form.head == "indicators":
            per_token["indicator_mask"] = [int(token.indicator) for token in tokens]
        if form.ner_as == "embedding":
            per_token["ner_ids"] = [token.ner for token in tokens]
        return {name: [0] * before + values + [0] * behind for name, values in per_token.items()}

    def encoded() -> Any:
        for row in rows:
            tokens = window(row, room)
            yield {
                "id": row.id,
                **pair_format.join([[token.id for token in tokens]]),
                **columns(tokens),
                "labels": row.label,
            }

    return write_rows(encoded(), cache_file)


def pooling_mask(tokens: list[Token], number: int, entity_pooling: str) -> list[int]:
    """1 for the tokens whose states make up the vector of entity 1 or 2: all of its own, its first, or its (first)
    opening marker."""
    if entity_pooling == "marker":
        mask = [token.marker == number for token in tokens]
    else:
        mask = [token.e1 if number == 1 else token.e2 for token in tokens]
    if entity_pooling != "mean" and any(mask):
        mask = [i == mask.index(True) for i in range(len(mask))]
    return [int(value) for value in mask]
