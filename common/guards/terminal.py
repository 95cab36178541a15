"""What may reach a terminal: in the language that was asked for, and without the control characters that names of
files, labels and ids can hold. Nothing of common/lang/ is imported for English.
"""

import os
import re
import sys
import unicodedata
from collections.abc import Callable

# C0 and C1 control characters but tab and line feed (ESC, BEL, CR, CSI), and those that turn the direction of writing.
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
LANGUAGES = ("en", "ko")
LANG_HELP = "--lang ko: messages in Korean; default: what LC_ALL, LC_MESSAGES or LANG says, else English"
TRANSLATOR: list[Callable[[str], str]] = []  # of this process; empty: English


def printable(text: str) -> str:
    """The text in the chosen language, with control characters as escapes: ESC is \\x1b."""
    return CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), told(text))


def told(text: str) -> str:
    """A sentence, or the word of a table's cell, in the chosen language; what it does not know stays as it is."""
    return TRANSLATOR[0](text) if TRANSLATOR else text


def padded(text: str, width: int, right: bool = False) -> str:
    """The text with spaces to a width in the terminal's columns, of which a Hangul syllable takes two."""
    space = " " * (width - columns_of(text))
    return space + text if right else text + space


def columns_of(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def take_language(argv: list[str]) -> str | None:
    """Remove --lang and its value from a command line; the last value, empty where none follows, or None without the
    option."""
    found = None
    while words := [word for word in argv if word == "--lang" or word.startswith("--lang=")]:
        place = argv.index(words[0])
        value = words[0].partition("=")[2] if "=" in words[0] else "".join(argv[place + 1 : place + 2])
        del argv[place : place + (1 if "=" in words[0] else 2)]
        found = value
    return found


def language_of_system() -> str:
    """ko where the first that is set of LC_ALL, LC_MESSAGES and LANG begins with it, else en."""
    names = ("LC_ALL", "LC_MESSAGES", "LANG")
    return "ko" if next(filter(None, map(os.environ.get, names)), "").startswith("ko") else "en"


def can_show(language: str) -> bool:
    """Whether standard output and error have the characters of a language; an ASCII terminal has those of English."""
    try:
        for name in ("stdout", "stderr"):
            "한글".encode(getattr(getattr(sys, name), "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return language == "en"
    return True


def speak(language: str) -> None:
    """Let printable() and told() translate from now on."""
    TRANSLATOR.clear()
    if language != "en" and can_show(language):
        from common.lang import translator

        TRANSLATOR.append(translator(language))
