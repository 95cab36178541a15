"""Batches beside each other."""

import threading

import pytest
import torch

from common.workers.threads import in_threads

CPU = torch.device("cpu")


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_batches_have_the_same_bits_in_the_same_order_for_any_number_of_threads(threads):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(300, 500), torch.nn.GELU(), torch.nn.LayerNorm(500)).eval()
    batches = [torch.randn(rows, 300) for rows in range(1, 40)]
    found = []
    for number in (1, 2, 3):
        threads(number)
        found.append(in_threads(lambda i: batches[i], model, range(len(batches)), CPU))
        assert torch.get_num_threads() == number
    assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))


def test_work_is_done_in_threads_of_one_core_each_in_inference_mode_and_prepared_in_this_one(threads):
    threads(2)
    both = threading.Barrier(2, timeout=30)  # passed by two at the same time only
    seen = []

    def work(name):
        both.wait()
        seen.append((name, torch.get_num_threads(), torch.is_inference_mode_enabled()))

    in_threads(lambda _: threading.current_thread().name, work, range(6), CPU)
    assert seen == [("MainThread", 1, True)] * 6


def test_what_a_batch_raises_is_raised_and_the_threads_are_as_before(threads):
    threads(2)
    with pytest.raises(ZeroDivisionError):
        in_threads(lambda item: item, lambda item: 1 / item, [1, 0, 1], CPU)
    assert torch.get_num_threads() == 2
