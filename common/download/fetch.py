"""A file over HTTP, by pooch: a cut connection goes on where it stopped, in the next start, too; a hash is checked
before the file gets its name.

Proxies are those of HTTPS_PROXY, HTTP_PROXY and NO_PROXY.
"""

import os
import time
from pathlib import Path

import pooch
import requests
from tqdm import tqdm

from common.console import InputError, first_line, print_once

WAITS = (1, 3)  # seconds before another attempt after so many in a row that brought nothing
TIMEOUT = (10, 60)  # seconds: for a connection, between two blocks
BLOCK = 2**14  # bytes; of one that is cut nothing is kept
PASSING = {429, 500, 502, 503, 504}  # answers that another attempt may not get


def fetch(url: str, path: Path, sha256: str | None) -> None:
    """Download `url` to `path`, which is there as a whole or not at all.

    sha256: of its bytes, None: not known. Raises InputError where it cannot be had or has another hash, OSError, which
    names the file, where the disk does not take it; then what has come is kept beside it for the next start.
    """
    pooch.get_logger().setLevel("ERROR")
    partial = Partial(path)
    try:
        pooch.retrieve(url, sha256, path.name, path.parent, downloader=partial.download)
    except requests.RequestException as error:
        kept = f"; {partial.size():,} bytes are kept, the same command goes on from there" if partial.size() else ""
        by_hand = f"try again later, set HTTPS_PROXY behind a proxy, or save it from a browser as {path}"
        raise InputError(f"{url}: {reason(error)}; {by_hand}{kept}") from error
    except ValueError as error:  # pooch has removed it
        raise InputError(
            f"{url}: what came has not the SHA-256 {sha256} that {path.name} is known to have, and was removed; "
            "the publisher has changed it, or something on the way did"
        ) from error
    except OSError as error:
        error.filename = error.filename or str(path)  # write(2) does not say which
        raise


class Broken(requests.ConnectionError):
    """What came is not all of it. The message says why."""


class Partial:
    """What has come of a file, .<name>.part, and the server's mark of the version it belongs to, .<name>.part.tag:
    without one there is no going on, because the rest might be another version's."""

    def __init__(self, path: Path):
        self.name = path.name
        self.path = path.with_name(f".{path.name}.part")
        self.tag = path.with_name(f".{path.name}.part.tag")

    def size(self) -> int:
        """Bytes that can be gone on from."""
        return self.path.stat().st_size if self.path.exists() and self.tag.exists() else 0

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self.tag.unlink(missing_ok=True)

    def download(self, url: str, output_file: str, _: object) -> None:
        """A downloader of pooch's: the whole of `url` as output_file, in as many attempts as bring something."""
        failures = 0
        while True:
            before = self.size()
            try:
                self.transfer(url)
                break
            except requests.RequestException as error:
                failures = 0 if self.size() > before else failures
                status = error.response.status_code if error.response is not None else None
                if failures == len(WAITS) or status is not None and status not in PASSING:
                    raise
                print_once(f"  {self.name}: {reason(error)}, again in {WAITS[failures]} s")
                time.sleep(WAITS[failures])
                failures += 1
        os.replace(self.path, output_file)
        self.remove()

    def transfer(self, url: str) -> None:
        """One request for what is missing. Raises requests.RequestException where it was not all that came."""
        have = self.size()
        headers = {"Accept-Encoding": "identity"}  # bytes as they lie there: those that a Range counts
        if have:
            headers |= {"Range": f"bytes={have}-", "If-Range": self.tag.read_text(encoding="latin-1")}
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            goes_on = response.status_code == 206 and response.headers.get("Content-Range", "").startswith(
                f"bytes {have}-"
            )
            if goes_on and mark_of(response) not in (None, headers["If-Range"]):  # a server that does not know If-Range
                goes_on = False
            if have and response.status_code in (206, 416) and not goes_on:  # not what was asked for
                self.remove()
                raise Broken("the server cannot go on from there")
            response.raise_for_status()
            if not goes_on:
                have = 0
                self.remove()
                if mark := mark_of(response):
                    self.tag.write_text(mark, encoding="latin-1")
            self.write(response, have)

    def write(self, response: requests.Response, have: int) -> None:
        """Append the body to the first `have` bytes."""
        encoded = "Content-Encoding" in response.headers  # all the same: then its length is not the file's
        length = "" if encoded else response.headers.get("Content-Length", "")
        total = have + int(length) if length.isdecimal() else None
        with (
            open(self.path, "ab" if have else "wb") as file,
            tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=self.name, disable=None) as bar,
        ):
            for block in response.iter_content(BLOCK):
                file.write(block)
                bar.update(len(block))
        if total is not None and self.path.stat().st_size != total:
            raise Broken("the connection was cut")


def mark_of(response: requests.Response) -> str | None:
    """What tells this version of the file from others, for If-Range: a strong ETag or the time of the last change; None
    where parts of it cannot be asked for."""
    if "Content-Encoding" in response.headers:
        return None
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified")


def reason(error: requests.RequestException) -> str:
    """Why a request failed, in a few words."""
    if error.response is not None:
        return f"the server answers {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy cannot be reached, or refuses"
    if isinstance(error, requests.exceptions.SSLError):
        return f"its certificate is not accepted ({first_line(error)})"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, Broken):
        return str(error)
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection was cut"
    return "cannot be reached"
