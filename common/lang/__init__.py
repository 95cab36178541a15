"""Messages in another language than English. Imported only where one is wanted (common/guards/terminal.py); a
catalogue is a JSON file beside this one: sentences, by their English template, and words of tables.

    translate = translator("ko")
    translate("train.csv: is empty")     # 'train.csv: 비어 있습니다'
"""

import json
from collections.abc import Callable
from pathlib import Path

from common.lang.match import Catalogue

FOLDER = Path(__file__).resolve().parent


def read(language: str) -> dict[str, dict[str, str]]:
    """`sentences` and `words` of a language."""
    return json.loads((FOLDER / f"{language}.json").read_text(encoding="utf-8"))


def translator(language: str) -> Callable[[str], str]:
    """From English to a language."""
    return Catalogue(**read(language)).translate
