"""Entity representations: what the model reads, and which tokens belong to which entity."""

from dataclasses import replace

import pytest
from transformers import RobertaTokenizerFast

from common.console import InputError
from common.tricks.scratch import train_tokenizer
from klue_re.data import REPRESENTATIONS, TYPED, Entity, RelationExample, TaskArguments
from klue_re.entities import (
    PREPROCESSING,
    EntityFormat,
    MarkedRow,
    Token,
    find_max_length,
    mark,
    mark_and_tokenize,
    marked_texts,
    tokenize,
    window,
)

# The typed-marker paper's own example.
BILL = RelationExample("bill", ["Bill was born in Seattle."], 0, e1=Entity(0, 3, "PERSON"), e2=Entity(17, 23, "CITY"))
TURNED = replace(BILL, id="turned", e1=BILL.e2, e2=BILL.e1)
TEXT = ["Bill was born in Seattle.", "Kim led Acme Bank of Korea in 1990 with two others from Seoul and Busan"]
TABLE = {
    "entity_mask": "[SUBJ-PERSON] was born in [OBJ-CITY] .",
    "entity_marker": "[E1] Bill [/E1] was born in [E2] Seattle [/E2] .",
    "entity_marker_punct": "@ Bill @ was born in # Seattle # .",
    "typed_entity_marker": "[E1-PERSON] Bill [/E1-PERSON] was born in [E2-CITY] Seattle [/E2-CITY] .",
    "typed_entity_marker_punct": "@ * person * Bill @ was born in # ∧ city ∧ Seattle # .",
}


def format_of(representation="entity_marker_punct", examples=(BILL,), **options):
    return EntityFormat.of(TaskArguments(entity_representation=representation, **options), examples)


def marked(example, form):
    return " ".join(text for text, _ in mark(example, form))


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXT * 3)


def tokens_of(example, form, tokenizer):
    """(pieces as text, their Tokens)."""
    (row,) = mark_and_tokenize([example], form, tokenizer)
    return tokenizer.convert_ids_to_tokens([token.id for token in row.tokens]), row.tokens


# The five representations


@pytest.mark.parametrize("representation", REPRESENTATIONS)
def test_each_representation_is_the_papers_table_1(representation):
    assert marked(BILL, format_of(representation)) == TABLE[representation]


@pytest.mark.parametrize("representation", REPRESENTATIONS)
def test_entities_keep_their_own_markers_when_the_second_stands_first(representation):
    wanted = TABLE[representation]
    for here, there in (("SUBJ", "OBJ"), ("E1", "E2"), ("@", "#"), ("*", "∧")):
        wanted = wanted.replace(here, "\0").replace(there, here).replace("\0", there)
    assert marked(TURNED, format_of(representation)) == wanted


def test_klues_types_are_spelled_out_in_korean_and_others_as_words():
    example = replace(BILL, e1=Entity(0, 3, "PER"), e2=Entity(17, 23, "STATE_OR_PROVINCE"))
    form = format_of("typed_entity_marker_punct", [example])
    assert marked(example, form) == "@ * 사람 * Bill @ was born in # ∧ state or province ∧ Seattle # ."


@pytest.mark.parametrize(
    ("representation", "ner_as", "count", "text"),
    [
        (
            "typed_entity_marker_punct",
            "special_tokens",
            2,
            "@ * [PERSON] * Bill @ was born in # ∧ [CITY] ∧ Seattle # .",
        ),
        ("typed_entity_marker", "text", 0, TABLE["typed_entity_marker"]),
        ("typed_entity_marker", "special_tokens", 8, TABLE["typed_entity_marker"]),
        ("entity_mask", "special_tokens", 4, TABLE["entity_mask"]),
        ("entity_mask", "text", 0, TABLE["entity_mask"]),
        ("entity_marker", "embedding", 4, TABLE["entity_marker"]),
        ("entity_marker_punct", "embedding", 0, TABLE["entity_marker_punct"]),
    ],
)
def test_types_are_text_or_tokens_of_their_own_or_an_embedding(tokenizer, representation, ner_as, count, text):
    form = format_of(representation, ner_as=ner_as)
    assert marked(BILL, form) == text
    assert len(form.special_tokens()) == count
    _, tokens = tokens_of(BILL, form, tokenizer)
    assert {token.ner for token in tokens} == ({0, 1, 2} if ner_as == "embedding" else {0})
    assert form.num_ner_types == (2 if ner_as == "embedding" else 0)


def test_markers_that_are_tokens_become_one_token_each():
    own = train_tokenizer(TEXT * 3)
    form = format_of("typed_entity_marker")
    own.add_tokens(form.special_tokens(), special_tokens=True)
    pieces, tokens = tokens_of(BILL, form, own)
    assert [piece for piece, token in zip(pieces, tokens, strict=True) if token.marker] == [
        "[E1-PERSON]", "[/E1-PERSON]", "[E2-CITY]", "[/E2-CITY]",
    ]  # fmt: skip


def test_what_looks_like_a_token_of_the_tokenizers_own_is_text(tokenizer):
    example = RelationExample("x", ["Kim [SEP] led [E1] Bank"], e1=Entity(0, 2), e2=Entity(19, 22))
    own = train_tokenizer([*TEXT, *example.segments])
    own.add_tokens(format_of("entity_marker").special_tokens(), special_tokens=True)
    pieces, tokens = tokens_of(example, format_of("entity_marker"), own)
    assert "[SEP]" not in pieces and pieces.count("[E1]") == 1 and sum(token.marker == 1 for token in tokens) == 1


def test_a_vocabulary_of_its_own_holds_the_markers_and_one_that_lacks_them_is_named(tokenizer, capsys):
    mark_and_tokenize([BILL], format_of(), tokenizer)
    assert "warning: the tokenizer does not know all of the markers #, @" in capsys.readouterr().out
    own = train_tokenizer(marked_texts([BILL], format_of()) * 3)
    pieces, _ = tokens_of(BILL, format_of(), own)
    assert pieces.count("@") == pieces.count("#") == 2 and not capsys.readouterr().out


def test_an_entity_of_characters_that_the_tokenizer_drops_is_refused(tokenizer):
    example = RelationExample("x", ["Kim \u200b led"], e1=Entity(0, 2), e2=Entity(4, 4))
    with pytest.raises(InputError, match="id x: entity 2 has no token"):
        mark_and_tokenize([example], format_of(), tokenizer)


def test_nested_crossing_and_adjacent_entities_have_well_formed_markers():
    sentence = "the Bank of Korea said"
    cases = {
        (4, 16, 12, 16): "the @ Bank of # Korea # @ said",
        (12, 16, 4, 16): "the # Bank of @ Korea @ # said",
        (4, 16, 4, 7): "the @ # Bank # of Korea @ said",
        (4, 10, 9, 16): "the @ Bank # of @ Korea # said",
        (4, 7, 4, 7): "the @ # Bank # @ of Korea said",
        (0, 2, 18, 21): "@ the @ Bank of Korea # said #",
    }
    for (s1, t1, s2, t2), wanted in cases.items():
        assert marked(RelationExample("x", [sentence], e1=Entity(s1, t1), e2=Entity(s2, t2)), format_of()) == wanted


def test_nested_entities_share_their_tokens(tokenizer):
    example = RelationExample("x", ["Kim led Acme Bank of Korea"], e1=Entity(8, 25), e2=Entity(21, 25))
    pieces, tokens = tokens_of(example, format_of(), tokenizer)
    for flag, words in (("e1", ["acme", "bank", "of", "korea"]), ("e2", ["korea"])):
        own = "".join(
            piece.removeprefix("##") for piece, token in zip(pieces, tokens, strict=True) if getattr(token, flag)
        )
        assert own == "".join(words)


@pytest.mark.parametrize("representation", REPRESENTATIONS[1:])
def test_an_entitys_tokens_are_exactly_its_text_and_never_a_marker(tokenizer, representation):
    pieces, tokens = tokens_of(BILL, format_of(representation), tokenizer)
    for flag, text in (("e1", "bill"), ("e2", "seattle")):
        own = [(piece, token.marker) for piece, token in zip(pieces, tokens, strict=True) if getattr(token, flag)]
        assert "".join(piece.removeprefix("##") for piece, _ in own) == text and {marker for _, marker in own} == {0}


def test_a_masked_entity_is_its_mask_which_is_never_cut(tokenizer):
    _, tokens = tokens_of(BILL, format_of("entity_mask"), tokenizer)
    assert [token.marker for token in tokens if token.e1] and all(token.marker == 1 for token in tokens if token.e1)
    assert [token.marker for token in tokens if token.e2] and all(token.marker == 2 for token in tokens if token.e2)


def test_a_tokenizer_of_bytes_reads_each_piece_as_following_one_space():
    characters = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *sorted(set("Ġ@#" + BILL.segments[0].replace(" ", "")))]
    own = RobertaTokenizerFast(vocab={character: number for number, character in enumerate(characters)}, merges=[])
    pieces, _ = tokens_of(BILL, format_of(), own)
    assert "".join(pieces) == "Ġ@ĠBillĠ@ĠwasĠbornĠinĠ#ĠSeattleĠ#Ġ."


def test_white_space_around_entities_makes_no_tokens(tokenizer):
    spaced = RelationExample("x", ["  Kim   led  Acme  "], e1=Entity(2, 4), e2=Entity(13, 16))
    plain = RelationExample("y", ["Kim led Acme"], e1=Entity(0, 2), e2=Entity(8, 11))
    assert tokens_of(spaced, format_of(), tokenizer)[0] == tokens_of(plain, format_of(), tokenizer)[0]


# Types


def test_a_row_without_types_is_refused_where_they_are_read():
    untyped = replace(BILL, id="u", e2=Entity(17, 23))
    for options in ({"representation": name} for name in TYPED):
        with pytest.raises(InputError, match="ner_file: id u has no entity types"):
            format_of(**options, examples=[BILL, untyped])
    with pytest.raises(InputError, match="ner_file: id u has no entity types"):
        format_of(ner_as="embedding", examples=[untyped])
    assert format_of("entity_marker", [untyped]).ner_types == []


def test_a_type_that_the_model_has_no_token_for_is_refused_and_text_reads_any(tokenizer):
    other = replace(BILL, id="o", e1=Entity(0, 3, "PLANET"))
    with pytest.raises(InputError, match="id o has type 'PLANET', and the model knows only CITY, PERSON"):
        mark_and_tokenize([other], format_of("typed_entity_marker"), tokenizer)
    assert "* planet *" in marked(other, format_of("typed_entity_marker_punct"))
    assert mark_and_tokenize([other], format_of("typed_entity_marker_punct"), tokenizer)


# Pooling masks, indicators


@pytest.mark.parametrize("entity_pooling", ["mean", "first", "marker"])
def test_a_pooling_mask_marks_all_tokens_the_first_or_the_opening_marker(tokenizer, tmp_path, entity_pooling):
    form = format_of("entity_marker", entity_pooling=entity_pooling)
    rows = tokenize(mark_and_tokenize([BILL], form, tokenizer), form, tokenizer, 64, tmp_path / "rows.arrow")
    pieces = tokenizer.convert_ids_to_tokens(rows[0]["input_ids"])
    assert len(pieces) == len(rows[0]["e1_mask"]) == len(rows[0]["e2_mask"]) and pieces[0] == "[CLS]"
    _, tokens = tokens_of(BILL, form, tokenizer)
    for number in (1, 2):
        own = [i for i, token in enumerate(tokens, start=1) if (token.e1, token.e2)[number - 1]]
        opening = [i for i, token in enumerate(tokens, start=1) if token.marker == number][:1]
        wanted = {"mean": own, "first": own[:1], "marker": opening}[entity_pooling]
        assert [i for i, value in enumerate(rows[0][f"e{number}_mask"]) if value] == wanted


def test_indicators_are_the_words_between_the_entities_and_the_nearest_around_them(tokenizer):
    sentence = "in 1990 Kim led Acme of Seoul with two others"
    example = RelationExample("x", [sentence], e1=Entity(16, 19), e2=Entity(8, 10))
    form = format_of(head="indicators", indicator_words=1)
    near = [text for text, token in mark(example, form) if token.indicator]
    assert near == ["1990", "led", "of"]
    far = [text for text, token in mark(example, format_of(head="indicators", indicator_words=0)) if token.indicator]
    assert far == ["led"]
    assert marked(example, form) == marked(example, format_of())
    assert not any(token.indicator and (token.e1 or token.e2 or token.marker) for _, token in mark(example, form))
    assert not any(token.indicator for _, token in mark(example, format_of()))


def test_the_baseline_reads_the_marked_sentence_and_no_masks(tokenizer, tmp_path):
    form = format_of(head="baseline")
    rows = tokenize(mark_and_tokenize([BILL], form, tokenizer), form, tokenizer, 64, tmp_path / "rows.arrow")
    assert set(rows.column_names) == {"id", "input_ids", "attention_mask", "token_type_ids", "labels"}


# Long rows


def long_row(before, between, after, length=3):
    """A row whose token ids count from 0: text, # entity 2 #, text, @ entity 1 @, text."""
    tokens = [Token(0)] * before + [Token(0, marker=2)] + [Token(0, e2=True)] * length + [Token(0, marker=-1)]
    tokens += (
        [Token(0)] * between
        + [Token(0, marker=1)]
        + [Token(0, e1=True)] * length
        + [Token(0, marker=-1)]
        + [Token(0)] * after
    )
    return MarkedRow("long", 0, [replace(token, id=i) for i, token in enumerate(tokens)])


def test_a_window_keeps_all_markers_and_the_text_nearest_to_the_entities_in_order():
    for before, between, after in [(20, 5, 20), (0, 30, 3), (40, 0, 0), (0, 0, 40)]:
        row = long_row(before, between, after)
        inside = {token.id for token in row.tokens if token.marker or token.e1 or token.e2}
        distance = {token.id: min(abs(token.id - i) for i in inside) for token in row.tokens}
        for room in range(6, 40):
            case = f"{before}, {between}, {after}, room {room}"
            kept = window(row, room)
            assert len(kept) == min(room, len(row.tokens)), case
            assert [token.id for token in kept] == sorted(token.id for token in kept), case
            assert sum(token.marker != 0 for token in kept) == 4, case
            assert any(token.e1 for token in kept) and any(token.e2 for token in kept), case
            if room < 10:
                continue
            assert sum(token.e1 for token in kept) == sum(token.e2 for token in kept) == 3, case  # all of both entities
            left_out = [distance[token.id] for token in row.tokens if token not in kept]
            assert max(distance[token.id] for token in kept) <= min(left_out, default=999), case


def test_markers_and_entities_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="id long, 6 tokens"):
        window(long_row(5, 5, 5), 5)


def test_max_length_leaves_room_for_the_markers_and_entities_of_every_file(tokenizer):
    rows = {"train": [replace(long_row(5, 5, 5), id="first")], "test": [long_row(5, 5, 5)]}
    assert find_max_length(rows, tokenizer, "8")[0] == 8  # 4 markers, 2 entities, [CLS] and [SEP]
    for name in rows:
        with pytest.raises(InputError, match=f"max_length: too short for .* id {rows[name][0].id}, 6 tokens"):
            find_max_length({"train": [MarkedRow("x", 0, [Token(0)])], name: rows[name]}, tokenizer, "7")


def test_a_format_travels_in_config_json():
    form = format_of("typed_entity_marker", head="indicators")
    assert EntityFormat.of_preprocessing(form.preprocessing(32)) == (form, 32)
    assert set(form.preprocessing(32)) == set(PREPROCESSING)


def test_auto_covers_the_rows_and_longer_ones_are_counted(tokenizer):
    rows = [long_row(5, 5, 5, length=2)] * 300 + [long_row(50, 5, 5, length=2)]
    length, is_long = find_max_length({"train": rows}, tokenizer, "auto")
    assert length == 5 + 4 + 5 + 4 + 5 + 2 and is_long.sum() == 1 and is_long[-1]
    assert find_max_length({"train": rows}, tokenizer, "80")[1].sum() == 0


def test_a_cut_row_has_max_length_tokens_and_masks_of_the_same_length(tokenizer, tmp_path):
    sentence = "Kim led Acme Bank of Korea in 1990 with two others from Seoul and Busan"
    example = RelationExample("x", [sentence], 0, e1=Entity(0, 2, "PER"), e2=Entity(53, 57, "LOC"))
    form = format_of("entity_marker_punct", [example], ner_as="embedding", head="indicators")
    (row,) = tokenize(mark_and_tokenize([example], form, tokenizer), form, tokenizer, 20, tmp_path / "rows.arrow")
    assert {
        len(row[name]) for name in ("input_ids", "attention_mask", "e1_mask", "e2_mask", "indicator_mask", "ner_ids")
    } == {20}
    assert sum(row["e1_mask"]) and sum(row["e2_mask"])
