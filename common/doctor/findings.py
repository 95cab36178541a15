"""What the doctor has found: a line each, of what, its value, whether it is fine, and what to do if not."""

from collections.abc import Iterable
from dataclasses import dataclass

from common.guards.terminal import padded, told

GB = 1e9


@dataclass
class Finding:
    """advice: what to do; empty where all is fine. fatal: nothing, or not this preset, can run because of it."""

    what: str
    value: str
    advice: str = ""
    fatal: bool = False

    def __str__(self) -> str:
        mark = "no" if self.fatal else "note" if self.advice else "ok"
        said = [told(self.value), *([told(self.advice)] if self.advice else [])]
        return f"{padded(told(mark), 5)} {padded(told(self.what), 10)} {'; '.join(said)}"


def fatal_names(findings: Iterable[Finding]) -> list[str]:
    """What stands in the way, each once."""
    return list(dict.fromkeys(finding.what for finding in findings if finding.fatal))
