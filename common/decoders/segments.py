"""A row's segments as one row of tokens: cut, and joined as the tokenizer joins a pair."""

from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase


@dataclass
class PairFormat:
    """Token ids that a tokenizer puts around and between the two texts of a pair, and the token types."""

    prefix: list[int]
    between: list[int]
    suffix: list[int]
    types: list[int] | None  # of prefix, first text, between, second text, suffix

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> "PairFormat":
        first, second = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("a", "b"))
        pair = tokenizer("a", "b")
        ids = pair["input_ids"]
        at = next(i for i in range(len(ids)) if ids[i : i + len(first)] == first)
        end = at + len(first)
        then = next(i for i in range(end, len(ids)) if ids[i : i + len(second)] == second)
        types = None
        if "token_type_ids" in tokenizer.model_input_names and "token_type_ids" in pair:
            kinds = pair["token_type_ids"]
            types = [kinds[0], kinds[at], kinds[end], kinds[then], kinds[-1]]
        # families without special tokens (GPT-2, Qwen) would glue one text to the other
        between = ids[end:then] or tokenizer("\n", add_special_tokens=False)["input_ids"]
        return cls(ids[:at], between, ids[then + len(second) :], types)

    def num_special(self, segments: int) -> int:
        """Special tokens in a row of that many segments."""
        return len(self.prefix) + len(self.between) * (segments - 1) + len(self.suffix)

    def join(self, segments: list[list[int]]) -> dict[str, list[int]]:
        """input_ids, attention_mask and, where the tokenizer has them, token_type_ids of one row."""
        ids = list(self.prefix)
        kinds = self.types or [0] * 5
        types = [kinds[0]] * len(self.prefix)
        for number, segment in enumerate(segments):
            if number:
                ids += self.between
                types += [kinds[2] if number == 1 else kinds[3]] * len(self.between)
            ids += segment
            types += [kinds[3] if number else kinds[1]] * len(segment)
        ids += self.suffix
        types += [kinds[4] if len(segments) > 1 else kinds[1]] * len(self.suffix)
        row = {"input_ids": ids, "attention_mask": [1] * len(ids)}
        return row if self.types is None else {**row, "token_type_ids": types}


def truncate(segments: list[list[int]], room: int, main: int) -> list[list[int]]:
    """Cut segments at their ends to `room` tokens in all: the longest others first, `main` when they are used up."""
    lengths = [len(segment) for segment in segments]
    while (excess := sum(lengths) - room) > 0:
        others = [i for i in range(len(lengths)) if i != main and lengths[i]]
        if not others:
            lengths[main] = max(0, room)
            break
        order = sorted(others, key=lambda i: -lengths[i])
        below = lengths[order[1]] if len(order) > 1 else 0
        lengths[order[0]] -= min(excess, max(1, lengths[order[0]] - below))
    return [segment[:length] for segment, length in zip(segments, lengths, strict=True)]
