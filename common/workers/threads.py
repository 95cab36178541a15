"""Batches beside each other on the cores of a CPU, a few in each thread: faster than all cores on one batch, whose
operations are too small to be shared out."""

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Semaphore
from typing import Any

import torch

MOST = 8  # Python threads; beyond, they wait for each other


def in_threads(prepare: Callable, work: Callable, items: Iterable, device: torch.device) -> list[Any]:
    """[work(prepare(item)) for item in items], in inference mode; on a CPU with several threads, work() of as many
    items at the same time, with the cores shared out among them. prepare() is called in order, in this thread.

    A batch that one core computes has the same bits for any number of threads up to MOST.
    """
    threads = torch.get_num_threads() if device.type == "cpu" else 1
    if threads == 1:
        with torch.inference_mode():
            return [work(prepare(item)) for item in items]
    workers = min(threads, MOST)
    room = Semaphore(2 * workers)  # so that no more is prepared than is soon worked on
    futures: list[Future] = []
    try:
        # set_num_threads() is of the calling thread, as OpenMP's, but for MKL's share of it
        with ThreadPoolExecutor(workers, "batches", torch.set_num_threads, (threads // workers,)) as pool:
            for item in items:
                room.acquire()
                futures.append(pool.submit(torch.inference_mode()(work), prepare(item)))
                futures[-1].add_done_callback(lambda _: room.release())
        return [future.result() for future in futures]
    finally:
        torch.set_num_threads(threads)
