"""A message -> the template that it was made from -> the same in another language.

A template has numbers for values ({0}), n and a number for those that are numbers ({n0}), and letters for text ({a}).
Values come through as they are; text is translated in its turn, where it is a sentence of the catalogue, or several. Of
the templates that a message fits, and the ways in which it fits them, that one is taken by which the most of its
characters are known.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from operator import itemgetter

SLOT = re.compile(r"(?<!\{)\{(\w+)\}(?!\})|(\{\{|\}\})")
SEPARATORS = ("; ", ", ", ": ", " ")
NUMBER = re.compile(r"[-+]?(\d[\d.,]*(e[-+]?\d+)?%?|nan|inf)")
PARTICLES = {"은(는)": ("은", "는"), "이(가)": ("이", "가"), "을(를)": ("을", "를"), "와(과)": ("과", "와")}
PARTICLES |= {"(으)로": ("으로", "로"), "(이)라는": ("이라는", "라는")}
L = 8  # the number of the final consonant ㄹ
DIGITS = dict(
    zip("0123456789", (21, L, 0, 16, 0, 0, 1, L, L, 0), strict=True)
)  # the final consonants of 영, 일, 이, ...
DIGITS["%"] = 0  # 퍼센트
BORDERS = " ,;:.("
MOST_WAYS = 40  # in which a message may fit one template
PROSE = re.compile(r"([a-z]+ ){2}[a-z]")  # of a library, whose words are not ours to take apart
SPACE = re.compile(" ")
WEAK = 4  # such a template is no more than a word and its value one word
STRONG = 12  # characters of a template that no other sentence has by chance
EDGE = 3  # characters
MOST_WORK = 4000  # texts that are looked up for one message; what is left then stays English
LONGEST = 20_000  # characters of a message
MOST_KEPT = 4096  # texts that have been translated
MOST_PARTS = 60  # of a list of sentences
LEAST_KNOWN = 5  # characters of a part that are of the catalogue: a label `no data` is not made from `no {0}`
LONGEST_RUN = 6  # parts that may be one sentence


def split_template(template: str) -> tuple[list[str], list[str]]:
    """The literal pieces, and the placeholders between them."""
    pieces, slots, start = [""], [], 0
    for match in SLOT.finditer(template):
        pieces[-1] += template[start : match.start()]
        if match[1] is not None:
            slots.append(match[1])
            pieces.append("")
        else:
            pieces[-1] += match[2][0]
        start = match.end()
    pieces[-1] += template[start:]
    return pieces, slots


def fill(template: str, values: Mapping[str, str]) -> str:
    """The template with its placeholders filled in, and the Korean particles after them, such as 을(를), as they are
    read."""
    pieces, slots = split_template(template)
    return pieces[0] + "".join(
        values[slot] + with_particle(values[slot], piece) for slot, piece in zip(slots, pieces[1:], strict=True)
    )


def with_particle(before: str, piece: str) -> str:
    """The piece after a value, with the particle that it begins with chosen where the value's sound is known: of Hangul
    and digits, not of Latin letters."""
    for both, (after_consonant, after_vowel) in PARTICLES.items():
        last = re.sub(r"[\s'\"`)\]]+$", "", before)[-1:]
        if piece.startswith(both) and (last in DIGITS or "가" <= last <= "힣") and last:
            final = DIGITS[last] if last in DIGITS else (ord(last) - ord("가")) % 28
            is_open = final == 0 or final == L and both == "(으)로"
            return (after_vowel if is_open else after_consonant) + piece[len(both) :]
    return piece


class Template:
    """One sentence in both languages."""

    def __init__(self, english: str, other: str):
        self.pieces, self.slots = split_template(english)
        self.other = other
        self.known = sum(map(len, self.pieces))
        self.longest = max(self.pieces, key=len)
        self.has_text = any(slot.isalpha() for slot in self.slots)

    def matches(self, text: str) -> Iterator[list[str]]:
        """What stands in the place of each placeholder, in the ways in which the text is made from this template, the
        leftmost places first; without text among them, one way is as good as another."""
        if self.longest in text and text.startswith(self.pieces[0]) and text.endswith(self.pieces[-1]):
            if not self.slots:
                yield from [[]] * (text == self.pieces[0])
            elif len(self.pieces[0]) + len(self.pieces[-1]) <= len(text):
                ways = self.ways(text, 0, len(self.pieces[0]), len(text) - len(self.pieces[-1]))
                yield from islice(ways, MOST_WAYS if self.has_text else 1)

    def ways(self, text: str, slot: int, place: int, end: int) -> Iterator[list[str]]:
        """matches() from a placeholder on, which begins at a place."""
        if slot == len(self.slots) - 1:
            if self.takes(slot, text[place:end]):
                yield [text[place:end]]
            return
        piece = self.pieces[slot + 1]
        found = text.find(piece, place, end)
        while found >= 0:
            parted = (
                piece or found in (place, end) or text[found] in BORDERS
            )  # with nothing between, text begins with a mark
            if parted and self.takes(slot, text[place:found]):
                for rest in self.ways(text, slot + 1, found + len(piece), end):
                    yield [text[place:found], *rest]
            # of two values with nothing between them, one division is as good as another
            of_values = not piece and not self.slots[slot].isalpha() and not self.slots[slot + 1].isalpha()
            found = text.find(piece, found + 1, end) if found < end and not of_values else -1

    def takes(self, slot: int, value: str) -> bool:
        return self.slots[slot][0] != "n" or len(self.slots[slot]) == 1 or NUMBER.fullmatch(value) is not None


class Catalogue:
    """The sentences of a language, and the words that stand in tables."""

    def __init__(self, sentences: Mapping[str, str], words: Mapping[str, str]):
        self.words = words
        self.first: dict[str, list[Template]] = {}  # by the characters with which they begin
        self.last: dict[str, list[Template]] = {}  # those that begin with a placeholder, by those with which they end
        for english, other in sentences.items():
            template = Template(english, other)
            first, last = template.pieces[0][:EDGE], template.pieces[-1][-EDGE:]
            (self.first if first else self.last).setdefault(first or last, []).append(template)
        self.cache: dict[str, tuple[int, str]] = {}
        self.left = MOST_WORK

    def translate(self, text: str) -> str:
        """A message in the other language, its lines one by one where they are not one sentence; what is not known
        stays as it is."""
        if len(text) > LONGEST:
            return text
        self.left = MOST_WORK
        known, translated = self.best(text)
        if "\n" in text:
            lines = [self.best(line) for line in text.split("\n")]
            if sum(more for more, _ in lines) > known:
                return "\n".join(line for _, line in lines)
        return translated

    def best(self, text: str) -> tuple[int, str]:
        """How many characters of a text are of the catalogue, and the text in the other language."""
        if text in self.cache:
            return self.cache[text]
        if self.left <= 0:
            return 0, text
        known, _, _, translated = max(self.whole(text), key=itemgetter(0, 1, 2), default=(0, 0, 0, text))
        found = max((known, translated), self.joined(text), key=itemgetter(0))
        if self.left > 0:  # else parts of it have not been looked up
            if len(self.cache) > MOST_KEPT:
                self.cache.clear()
            self.cache[text] = found
        return found

    def whole(self, text: str) -> Iterator[tuple[int, int, int, str]]:
        """The text as a word, and as each of the templates that it fits: known characters, those that begin the
        template, and all that are its own."""
        self.left -= 1
        if text in self.words:
            yield len(text), len(text), len(text), self.words[text]
        found = [self.first.get(text[:n], ()) for n in range(1, EDGE + 1)]
        found += [self.last.get(text[len(text) - n :], ()) for n in range(min(EDGE, len(text)) + 1)]
        for template in chain.from_iterable(found):
            for values in template.matches(text):
                slots = zip(template.slots, values, strict=True)
                pairs = [self.best(value) if slot.isalpha() else (0, value) for slot, value in slots]
                foreign = PROSE if template.known > WEAK else SPACE
                unknown = "".join(value for known, value in pairs if known == 0)
                if template.known < STRONG and foreign.search(unknown):
                    continue
                filled = dict(zip(template.slots, (translated for _, translated in pairs), strict=True))
                known = template.known + sum(known for known, _ in pairs)
                yield known, len(template.pieces[0]), template.known, fill(template.other, filled)

    def joined(self, text: str) -> tuple[int, str]:
        """A text of several, of which some are sentences: `a; b`, `a, b`, `a: b`, `a (b)`, and `9 a`."""
        found = [match.start() for match in re.finditer(r" \(", text)] if text.endswith(")") else []
        ways = [(self.best(text[:place]), self.best(text[place + 2 : -1])) for place in found[:LONGEST_RUN]]
        ways = [(a + b, f"{left} ({right})") for (a, left), (b, right) in ways]
        for separator in SEPARATORS:
            parts = text.split(separator, 1 if separator == " " else -1)
            if 1 < len(parts) <= MOST_PARTS and (separator != " " or re.fullmatch(r"\d[\d.,]*", parts[0])):
                ways.append(self.parts(parts, separator))
        ends = [
            place
            for place in range(1, len(text))
            if text[place] in BORDERS and text[place : place + EDGE] in self.first
        ]
        for place in ends[:LONGEST_RUN]:  # `a, b`, where `, b` is the sentence
            known, _, _, translated = max(self.whole(text[place:]), key=itemgetter(0, 1, 2), default=(0, 0, 0, ""))
            before, beginning = self.best(text[:place])
            if known and before:
                ways.append((known + before, beginning + translated))
        return max(ways, key=itemgetter(0), default=(0, text))

    def parts(self, parts: list[str], separator: str) -> tuple[int, str]:
        """Each part that is a sentence, or several that are one together, translated."""
        known, result, start = 0, [], 0
        while start < len(parts):
            for end in range(min(len(parts), start + LONGEST_RUN), start, -1):
                part = separator.join(parts[start:end])
                fits = self.whole(part) if part not in self.words else ()
                more, _, _, translated = max(fits, key=itemgetter(0, 1, 2), default=(0, 0, 0, part))
                if more >= LEAST_KNOWN:
                    break
            else:
                end, part = start + 1, parts[start]
                more, translated = self.best(part) if part not in self.words else (0, part)
                more, translated = (more, translated) if more >= LEAST_KNOWN else (0, part)
            known += more
            result.append(translated)
            start = end
        return known, separator.join(result)
