"""What is wrong with a catalogue, in lines that say what to change."""

from collections.abc import Iterator

from common.lang import read
from common.lang.extract import sentences, words
from common.lang.match import split_template


def problems(language: str) -> Iterator[str]:
    """A line for each sentence or word without a translation, each translation of what is not said any more, and each
    that has other placeholders than its template."""
    catalogue = read(language)
    file = f"common/lang/{language}.json"
    said = {"sentences": {one.template: one.places for one in sentences().values()}, "words": words()}
    for section, places in said.items():
        for text, place in places.items():
            if text not in catalogue[section]:
                where = place if isinstance(place, str) else ", ".join(place)
                yield f"{file}, {section}: add a translation of {text!r} ({where})"
        for text in catalogue[section]:
            if text not in places:
                yield f"{file}, {section}: remove {text!r}, which nothing says"
    for text, translation in catalogue["sentences"].items():
        wanted, found = (sorted(split_template(one)[1]) for one in (text, translation))
        if wanted != found:
            yield f"{file}, sentences: the translation of {text!r} has the placeholders {found}, expected {wanted}"
    for section in said:
        if list(catalogue[section]) != sorted(catalogue[section]):
            yield f"{file}, {section}: is not sorted"
