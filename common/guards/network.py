"""A hub that has no address here: its client asks six times for every file, half a minute each, cached files too."""

import os
import queue
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from huggingface_hub import constants

from common.console import print_once

TIMEOUT = 3.0  # seconds
AGAIN = 1.0  # seconds until the second question: a network that has just come up


def prefer_cache(name: str) -> None:
    """Where a model is no folder and the hub's name has no address: take what the cache has, and say so.

    HF_HUB_OFFLINE is set for this process and its children. Behind a proxy the name is the proxy's business.
    """
    if constants.HF_HUB_OFFLINE or Path(name).exists() or {"https", "all"} & set(getproxies()):
        return
    host = urlsplit(constants.ENDPOINT).hostname or ""
    if has_address(host):
        return
    time.sleep(AGAIN)
    if has_address(host):
        return
    os.environ["HF_HUB_OFFLINE"] = "1"
    constants.HF_HUB_OFFLINE = True
    print_once(f"no network: {host} has no address here; models come from folders and from the hub's cache")


def has_address(host: str) -> bool:
    """Whether a name can be looked up, or its look-up takes so long that nothing is known."""
    try:
        within(TIMEOUT, lambda: socket.getaddrinfo(host, None))
    except (socket.gaierror, UnicodeError):
        return False
    except TimeoutError:
        return True
    return True


def within(seconds: float, ask: Callable[[], Any]) -> Any:
    """What ask() returns or raises; TimeoutError after so many seconds: the look-up of a name knows no timeout."""
    box: queue.Queue[tuple[Any, Exception | None]] = queue.Queue()

    def run() -> None:
        try:
            box.put((ask(), None))
        except Exception as error:
            box.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        answer, error = box.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer within {seconds:g} s") from None
    if error is not None:
        raise error
    return answer
