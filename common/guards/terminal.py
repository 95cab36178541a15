"""What may reach a terminal: names of files, labels and ids can hold characters that a terminal obeys."""

import re

# C0 and C1 control characters but tab and line feed (ESC, BEL, CR, CSI), and those that turn the direction of writing.
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """The text with control characters as escapes: ESC is \\x1b."""
    return CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)
