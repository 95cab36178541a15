"""Token ids from one run to the next: the same ids, or none of the cache's business."""

import errno
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import AutoTokenizer, BertTokenizerFast, PreTrainedTokenizerFast

import common.tricks.token_cache as cached
from common.examples import TextExample
from common.text import find_max_length, tokenize
from common.tricks.scratch import train_tokenizer
from common.tricks.token_cache import TokenCache, describe, key_of, pack, token_ids, unpack
from klue_re.data import Entity, RelationExample, TaskArguments
from klue_re.entities import EntityFormat, mark_and_tokenize

TEXTS = ["the river", "the old harbour town", "", "rain", "a river town in the rain", "🙂"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A cache of its own, from three texts on."""
    monkeypatch.setenv("COMPETITION_RECIPES_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cached, "FEWEST_TEXTS", 3)
    return tmp_path / "cache"


@pytest.fixture
def tokenizer():
    return train_tokenizer(TEXTS * 3)


def read(tokenizer, texts=TEXTS):
    return tokenizer(texts, add_special_tokens=False)["input_ids"]


def names(folder):
    return sorted(path.suffix for path in folder.iterdir())


def replace_entry(folder, ids):
    """The only entry, whole, with other ids: what is then read comes from it."""
    (path,) = folder.glob("*.npy")
    np.save(path, pack(ids))
    path.with_suffix(".json").write_text(json.dumps(describe(path)))


OTHERS = [[7] for _ in TEXTS]


def test_the_second_reading_has_the_ids_of_the_first_and_comes_from_the_folder(folder, tokenizer):
    assert token_ids(TEXTS, tokenizer) == read(tokenizer)
    assert names(folder) == [".json", ".npy"]
    assert token_ids(TEXTS, tokenizer) == read(tokenizer)
    replace_entry(folder, OTHERS)
    assert token_ids(TEXTS, tokenizer) == OTHERS


def test_packed_ids_unpack_to_the_same_lists():
    for ids in ([[]], [[], [1], [], [2, 3], []], read(train_tokenizer(TEXTS))):
        assert unpack(pack(ids), len(ids)) == ids


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "gone", "manifest cut", "manifest gone", "a folder"])
def test_a_damaged_entry_is_made_anew(folder, tokenizer, damage):
    token_ids(TEXTS, tokenizer)
    replace_entry(folder, OTHERS)
    (path,) = folder.glob("*.npy")
    data = bytearray(path.read_bytes())
    data[-4] ^= 1
    if damage in ("cut", "flipped", "empty"):
        path.write_bytes({"cut": data[:-4], "flipped": data, "empty": b""}[damage])
    elif damage == "manifest cut":
        path.with_suffix(".json").write_text('{"size": 3')
    elif damage == "a folder":
        path.unlink()
        path.mkdir()
    else:
        (path if damage == "gone" else path.with_suffix(".json")).unlink()
    assert token_ids(TEXTS, tokenizer) == read(tokenizer)
    if damage != "a folder":
        replace_entry(folder, OTHERS)
        assert token_ids(TEXTS, tokenizer) == OTHERS


def backend(words, **options):
    model = models.WordLevel({word: i for i, word in enumerate(["[UNK]", "[PAD]", *words])}, unk_token="[UNK]")
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", **options)


def test_an_entry_is_of_its_texts_tokenizer_and_call_alone():
    words = ["the", "river", "dropout"]

    def changed(change):
        tokenizer = backend(words)
        change(tokenizer)
        return tokenizer

    plain = backend(words)
    keys = {
        "plain": key_of(["ab", "c"], plain, {}),
        "texts": key_of(["a", "bc"], plain, {}),
        "order": key_of(["c", "ab"], plain, {}),
        "call": key_of(["ab", "c"], plain, {"split_special_tokens": True}),
        "other words": key_of(["ab", "c"], backend(["river", "the", "dropout"]), {}),
        "added": key_of(["ab", "c"], changed(lambda t: t.add_tokens(["[E1]"])), {}),
        "special": key_of(["ab", "c"], changed(lambda t: t.add_tokens(["[E1]"], special_tokens=True)), {}),
        "spelling": key_of(["ab", "c"], changed(lambda t: setattr(t.backend_tokenizer, "normalizer", None)), {}),
        "splits": key_of(["ab", "c"], changed(lambda t: setattr(t, "split_special_tokens", True)), {}),
    }
    assert None not in keys.values() and len(set(keys.values())) == len(keys)
    cut = backend(words, padding_side="left")
    cut(["the river"], truncation=True, max_length=1, padding="max_length")  # stays in the backend until the next call
    assert key_of(["ab", "c"], cut, {}) == keys["plain"]


def test_a_saved_tokenizer_finds_what_the_first_has_written(folder, tokenizer, tmp_path):
    token_ids(TEXTS, tokenizer)
    tokenizer.save_pretrained(tmp_path / "fold0")
    replace_entry(folder, OTHERS)
    assert token_ids(TEXTS, AutoTokenizer.from_pretrained(tmp_path / "fold0")) == OTHERS


class Shouting(BertTokenizerFast):
    """Whose code is not in its files."""


def test_tokenizers_that_are_code_or_random_are_not_kept(tmp_path):
    train_tokenizer(TEXTS).save_pretrained(tmp_path)
    assert key_of(TEXTS, Shouting.from_pretrained(tmp_path), {}) is None
    vocabulary = {letter: i for i, letter in enumerate("abc")} | {"ab": 3}
    for dropout, kept in ((None, True), (0.1, False)):
        bpe = Tokenizer(models.BPE(vocab=vocabulary, merges=[("a", "b")], dropout=dropout))
        assert bool(key_of(["abc"], PreTrainedTokenizerFast(tokenizer_object=bpe), {})) == kept


@pytest.mark.parametrize("off", ["few", "off", "empty"])
def test_few_texts_and_off_write_nothing(folder, tokenizer, monkeypatch, off, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    if off != "few":
        monkeypatch.setenv("COMPETITION_RECIPES_CACHE", "" if off == "empty" else "OFF")
    texts = TEXTS[:2] if off == "few" else TEXTS
    assert token_ids(texts, tokenizer) == read(tokenizer, texts)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("xdg, place", [("{}/xdg", "xdg"), ("relative", ".cache"), (None, ".cache")])
def test_the_folder_is_below_the_users_cache(tokenizer, monkeypatch, tmp_path, xdg, place):
    monkeypatch.delenv("COMPETITION_RECIPES_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if xdg:
        monkeypatch.setenv("XDG_CACHE_HOME", xdg.format(tmp_path))
    token_ids(TEXTS, tokenizer)
    assert len(list((tmp_path / place / "competition-recipes" / "tokens").iterdir())) == 2


def test_a_folder_that_cannot_be_written_changes_nothing(folder, tokenizer, capfd):
    folder.write_text("a file")
    assert token_ids(TEXTS, tokenizer) == read(tokenizer)
    assert folder.read_text() == "a file"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("step", ["array", "manifest"])
def test_a_full_disk_changes_nothing_and_leaves_nothing_half_written(folder, tokenizer, monkeypatch, step):
    def full(file, *args, **kwargs):
        if step == "array":
            file.write(b"half")
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(*((np, "save", full) if step == "array" else (cached, "write_json", full)))
    for _ in range(2):
        assert token_ids(TEXTS, tokenizer) == read(tokenizer)
    assert names(folder) == ([] if step == "array" else [".npy"])


def test_what_was_used_least_recently_goes_first_and_what_is_not_the_caches_stays(folder, monkeypatch):
    cache = TokenCache(folder)
    keys = [letter * 64 for letter in "abc"]
    arrays = [np.full(100, number, dtype=np.int32) for number in range(3)]
    monkeypatch.setattr(cached, "MOST_BYTES", 1500)  # two entries of 528 and about 100 bytes
    folder.mkdir()
    for name in ("notes.json", f"{'z' * 64}.npy", f".{'e' * 64}.npy.1.tmp"):  # the last of a writer of now
        (folder / name).write_bytes(b"x" * 5000)
    for number, moment in ((0, 10), (1, 20)):
        cache.add(keys[number], arrays[number])
        for path in cache.files(keys[number]):
            cached.os.utime(path, (moment, moment))
    np.testing.assert_array_equal(cache.find(keys[0]), arrays[0])  # the older one is now the newer
    cache.add(keys[2], arrays[2])
    assert [cache.find(key) is not None for key in keys] == [True, False, True]
    assert len(list(folder.iterdir())) == 3 + 2 * 2
    cache.add("d" * 64, np.zeros(1000, dtype=np.int32))  # larger than all together may be
    assert cache.find("d" * 64) is None and cache.find(keys[2]) is not None
    cached.os.utime(folder / f".{'e' * 64}.npy.1.tmp", (10, 10))  # of a writer that was killed
    cache.clean()
    assert not list(folder.glob(".*"))


def test_several_writers_and_readers_of_one_entry_see_it_whole_or_not_at_all(folder):
    array = np.arange(5000, dtype=np.int32)

    def work(number):
        cache = TokenCache(folder)
        seen = []
        for _ in range(10):
            cache.add("a" * 64, array)
            seen.append(cache.find("a" * 64))
        return [found is None or np.array_equal(found, array) for found in seen]

    with ThreadPoolExecutor(4) as pool:
        assert all(all(seen) for seen in pool.map(work, range(4)))


def test_rows_are_the_same_bytes_without_a_cache_on_the_first_run_and_on_the_second(
    folder, tokenizer, tmp_path, monkeypatch
):
    examples = [TextExample(str(i), [text, TEXTS[i - 1]], label=i % 2) for i, text in enumerate(TEXTS)]
    files = []
    for name in ("off", "first", "second"):
        monkeypatch.setenv("COMPETITION_RECIPES_CACHE", "off" if name == "off" else str(folder))
        assert find_max_length(examples, tokenizer, "auto")
        tokenize(examples, tokenizer, 9, tmp_path / f"{name}.arrow")
        files.append((tmp_path / f"{name}.arrow").read_bytes())
    assert files[0] == files[1] == files[2]
    assert names(folder) == [".json", ".npy"]  # one reading for both, and for any max_length


def test_marked_sentences_are_kept_with_their_markers_apart(folder, tokenizer):
    sentence = "the old harbour town in the rain"
    spans = [(0, 2), (4, 6), (8, 14), (16, 19)]
    rows = [
        RelationExample(f"{i}{j}", [sentence], e1=Entity(*one), e2=Entity(*two))
        for i, one in enumerate(spans) for j, two in enumerate(spans) if i != j
    ]  # fmt: skip
    form = EntityFormat.of(TaskArguments(entity_representation="entity_marker"), rows)
    tokenizer.add_tokens(form.special_tokens(), special_tokens=True)
    first = mark_and_tokenize(rows, form, tokenizer)
    assert len(list(folder.glob("*.npy"))) == 2  # of pieces, and of markers
    assert mark_and_tokenize(rows, form, tokenizer) == first
    assert first[0].tokens[0].marker == 1
