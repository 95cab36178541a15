import re

import numpy as np
import pytest

from common.console import InputError
from common.logits import Logits, average, concatenate

NAMES = ["기쁨", "슬픔"]


def make(ids, offset=0.0, label_names=NAMES):
    rows = np.arange(len(ids), dtype=np.float32)
    return Logits(ids, np.stack([rows + offset, -rows], axis=1), np.arange(len(ids)) % 3 - 1, label_names)


def assert_equal(a, b):
    assert a.ids.tolist() == b.ids.tolist() and a.label_names == b.label_names
    np.testing.assert_array_equal(a.logits, b.logits)
    np.testing.assert_array_equal(a.labels, b.labels)


def test_what_is_saved_is_loaded_with_its_types(tmp_path):
    logits = make(["1_0", "가/b.png", "10"])
    logits.save(tmp_path / "x.npz")
    loaded = Logits.load(tmp_path / "x.npz")
    assert_equal(loaded, logits)
    assert (loaded.ids.dtype.kind, loaded.logits.dtype, loaded.labels.dtype) == ("U", np.float32, np.int64)
    assert [path.name for path in tmp_path.iterdir()] == ["x.npz"]


def write_text(path):
    path.write_text("Id,Predicted\n")


def write_empty(path):
    path.write_bytes(b"")


def write_cut(path):
    make(["a", "b"]).save(path)
    path.write_bytes(path.read_bytes()[:-40])


def write_npy(path):
    with path.open("wb") as file:
        np.save(file, np.zeros(3))


def write_objects(path):
    with path.open("wb") as file:
        np.savez(
            file,
            ids=np.array(["a", None], dtype=object),
            logits=np.zeros((2, 2)),
            labels=np.zeros(2, dtype=int),
            label_names=NAMES,
        )


def write_other_arrays(path):
    np.savez(path, x=np.zeros(3))


def write_other_shape(path):
    np.savez(path, ids=["a"], logits=np.zeros((2, 2)), labels=np.zeros(2, dtype=int), label_names=NAMES)


def write_infinite(path):
    np.savez(path, ids=["a"], logits=[[np.inf, 0.0]], labels=[0], label_names=NAMES)


def write_label_out_of_range(path):
    np.savez(path, ids=["a"], logits=[[1.0, 0.0]], labels=[2], label_names=NAMES)


def write_nothing(path):
    pass


WRITERS = [
    write_text,
    write_empty,
    write_cut,
    write_npy,
    write_objects,
    write_other_arrays,
    write_other_shape,
    write_infinite,
]


@pytest.mark.parametrize("write", [*WRITERS, write_label_out_of_range, write_nothing])
def test_file_that_is_not_logits_is_an_input_error_that_names_it(tmp_path, write):
    path = tmp_path / "bad.npz"
    write(path)
    with pytest.raises(InputError, match=re.escape(str(path))):
        Logits.load(path)


def test_reorder_moves_logits_and_labels_with_their_ids():
    logits = make(["a", "b", "c", "d"])
    moved = logits.reorder(["c", "a", "d", "b"])
    assert moved.logits[:, 0].tolist() == [2, 0, 3, 1]
    assert moved.labels.tolist() == [1, -1, -1, 0]
    assert_equal(moved.reorder(logits.ids), logits)


@pytest.mark.parametrize(
    ("present", "wanted", "message"),
    [
        (["a"], ["a", "x", "y"], "2 missing (first: 'x')"),
        (["a", "b"], ["a"], "1 extra (first: 'b')"),
        (["a", "b", "b"], ["a", "b"], "1 repeated (first: 'b')"),
        (["a", "b"], ["a", "b", "a"], "1 repeated (first: 'a')"),
    ],
)
def test_reorder_counts_and_names_ids_that_do_not_match(present, wanted, message):
    with pytest.raises(InputError, match=re.escape(message)):
        make(present).reorder(wanted)


def test_average_aligns_by_id_and_normalises_weights():
    first, second = make(["a", "b", "c"]), make(["a", "b", "c"], offset=3.0).reorder(["b", "c", "a"])
    assert average([first, second]).logits[:, 0].tolist() == [1.5, 2.5, 3.5]
    weighted = average([first, second], weights=[4, 2])
    np.testing.assert_allclose(weighted.logits[:, 0], [1, 2, 3])
    assert weighted.ids.tolist() == ["a", "b", "c"] and weighted.labels.tolist() == first.labels.tolist()


@pytest.mark.parametrize(
    ("second", "weights", "message"),
    [
        (make(["a", "b"], label_names=NAMES[::-1]), None, "label names of part 2"),
        (make(["a", "x"]), None, "1 missing"),
        (make(["a", "b"]), [1.0], "1 weights for 2"),
        (make(["a", "b"]), [0.0, 0.0], "sum to 0"),
        (make(["a", "b"]), [1.0, float("nan")], "sum to nan"),
    ],
)
def test_average_refuses_what_does_not_fit(second, weights, message):
    with pytest.raises(InputError, match=message):
        average([make(["a", "b"]), second], weights)


def test_concatenate_restores_the_order_of_ids_and_wants_each_once():
    whole = make(["a", "b", "c", "d", "e"])
    parts = [Logits(whole.ids[rows], whole.logits[rows], whole.labels[rows], NAMES) for rows in ([4, 1], [0], [3, 2])]
    assert_equal(concatenate(parts, whole.ids), whole)
    with pytest.raises(InputError, match="1 missing .first: 'a'"):
        concatenate([parts[0], parts[2]], whole.ids)
    with pytest.raises(InputError, match="1 repeated .first: 'a'"):
        concatenate([*parts, parts[1]], whole.ids)


def test_probabilities_of_huge_logits_sum_to_one():
    probabilities = Logits(["a"], [[1e30, -1e30]], [0], NAMES).probabilities()
    assert probabilities.dtype == np.float64
    np.testing.assert_array_equal(probabilities, [[1.0, 0.0]])
