"""One text, two spellings: macOS writes Hangul names as single letters (NFD), the rest of the world as syllables (NFC).

Names, ids, labels, headers and texts are compared in NFC (Unicode Standard Annex 15); ids are written back as the test
file or the sample spells them.
"""

import unicodedata


def nfc(text: str) -> str:
    """The composed spelling."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def look(text: str) -> str:
    """What texts share that people cannot tell apart, or in case only: full-width and composed letters, white space and
    characters without a width aside (Unicode's NFKC and category Cf)."""
    seen = unicodedata.normalize("NFKC", text).casefold()
    return " ".join("".join(c for c in seen if unicodedata.category(c) != "Cf").split())


def nfc_span(text: str, start: int, end: int) -> tuple[int, int]:
    """Where characters start to end of a text, both inclusive, stand in nfc(text)."""
    if unicodedata.is_normalized("NFC", text):
        return start, end
    return len(nfc(text[:start])), len(nfc(text[: end + 1])) - 1
