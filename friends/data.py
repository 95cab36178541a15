"""EmotionLines 'Friends': the competition's files, the repair of their text, and a line with its speaker and context.

What train.py and predict.py want of a data.py, for a contest of your own too (docs/new_competition.md):

COMPETITION_FILES   option -> file name in data/
LABEL_NAMES         the labels, in the order of the model's outputs
SUBMISSION          what is handed in
PREPROCESSING       the keys that a model's config.json has of its rows: make_preprocessing()'s and max_length
TaskArguments       the options of train.py
make_preprocessing  args -> what read_examples() is to do to a row, a dict; special_tokens: new tokens of the vocabulary
read_examples       path, preprocessing -> rows
"""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from common.console import InputError, print_once
from common.decoders.template import fields_of
from common.examples import TextExample, check_id, check_text
from common.files import read_json_data
from common.guards.spelling import nfc
from common.options import TEMPLATE_HELP, TextTaskArguments
from common.submission import SubmissionFormat, most_likely_label
from common.tables import read_table

COMPETITION_FILES = {
    "train_file": "friends_train.json",
    "eval_file": "friends_dev.json",
    "test_file": "en_data.csv",
    "sample_submission_file": "sample_submission_friends_final.csv",
}
LABEL_NAMES = ["anger", "disgust", "fear", "joy", "neutral", "non-neutral", "sadness", "surprise"]
SUBMISSION = SubmissionFormat("Id", {"Expected": most_likely_label})
PREPROCESSING = (
    "speaker_format",
    "context",
    "prompt_template",
    "speakers",
    "special_tokens",
    "repair_text",
    "max_length",
)
CSV_COLUMNS = ["id", "i_dialog", "i_utterance", "speaker", "utterance"]  # and `emotion` where the rows are labelled
NO_NEIGHBOUR = "[None]"

# What stands at which place; 0 is the line itself, -1 the one before.
CONTEXTS = {
    "current": [0],
    "current_previous": [0, -1],
    "previous_current": [-1, 0],
    "current_next": [0, 1],
    "previous_current_next": [-1, 0, 1],
    "previous2_previous_current": [-2, -1, 0],
}
# Fields of prompt_template -> the line's place; {speaker} is the line's own.
TEMPLATE_PLACES = {"current": 0, "previous": -1, "previous2": -2, "next": 1}
SPEAKER_FORMATS = {
    "colon": "{speaker} : {utterance}",
    "space": "{speaker} {utterance}",
    "bracket": "[{speaker}] {utterance}",
    "says": "[{speaker}] [Says] {utterance}",
    "none": "{utterance}",
}


@dataclass
class TaskArguments(TextTaskArguments):
    """Fields of train.py beside TrainingArguments."""

    LIMITS: ClassVar[dict] = {"min_speaker_share": (0, 1)}
    TEMPLATE_FIELDS: ClassVar[tuple[str, ...]] = (*TEMPLATE_PLACES, "speaker")

    speaker_format: Literal[tuple(SPEAKER_FORMATS)] = field(
        default="colon", metadata={"help": "S : u, S u, [S] u, [S] [Says] u, or u"}
    )
    min_speaker_share: float = field(
        default=0.0, metadata={"help": "speakers of a smaller share of the training lines are left out of the text"}
    )
    prompt_template: str | None = field(
        default=None,
        metadata={"help": f"{TEMPLATE_HELP} {' '.join(f'{{{name}}}' for name in (*TEMPLATE_PLACES, 'speaker'))}"},
    )
    context: Literal[tuple(CONTEXTS)] = field(
        default="current_previous", metadata={"help": "which lines are a row's segments, in which order"}
    )
    add_special_tokens: bool = field(
        default=False, metadata={"help": "[None], [Says] and bracketed names become tokens of the vocabulary"}
    )
    repair_text: bool = field(
        default=True, metadata={"help": "mend cp1252 control characters and the '?' that stand for apostrophes"}
    )

    def check(self, training_args: Any) -> None:
        super().check(training_args)
        if self.prompt_template is not None and self.context != "current_previous":
            raise InputError("context: is not read with a prompt_template, whose fields say which lines there are")


@dataclass
class Utterance:
    """One line of a dialogue; emotion None: unknown."""

    id: str
    dialogue: str
    speaker: str
    text: str
    emotion: str | None


def make_preprocessing(args: TaskArguments) -> dict:
    """What read_examples() is to do to a line: PREPROCESSING but max_length, which is known once the rows are
    tokenized.

    speakers: the names that are kept in the text; None: all. special_tokens: what becomes a token of the vocabulary.
    """
    speakers = None
    new_tokens = []
    if args.min_speaker_share > 0 or args.add_special_tokens:
        frequent = frequent_speakers(read_utterances(args.train_file, args.repair_text), args.min_speaker_share)
        speakers = frequent if args.min_speaker_share > 0 else None
        new_tokens = special_tokens(args.speaker_format, args.context, frequent) if args.add_special_tokens else []
    values = {name: getattr(args, name) for name in ("speaker_format", "context", "prompt_template", "repair_text")}
    return {**values, "speakers": speakers, "special_tokens": new_tokens}


def read_examples(path: str | Path, preprocessing: dict) -> list[TextExample]:
    """One row per line of a file, in its order. Raises InputError that names file, row and field."""
    utterances = read_utterances(path, preprocessing["repair_text"])
    form, speakers = preprocessing["speaker_format"], preprocessing["speakers"]
    if template := preprocessing.get("prompt_template"):
        return fill_template(utterances, template, form, speakers)
    return make_examples(utterances, form, preprocessing["context"], speakers)


def read_utterances(path: str | Path, repair: bool) -> list[Utterance]:
    """The lines of an EmotionLines JSON file or of the Kaggle table, in order. Raises InputError that names file, row
    and field."""
    path = Path(path)
    read = read_json_dialogues if path.suffix.lower() == ".json" else read_kaggle_table
    return read(path, repair_text if repair else str)


def read_json_dialogues(path: Path, mend: Callable[[str], str]) -> list[Utterance]:
    """[[{speaker, utterance, emotion}, ...], ...]; ids are <dialogue>_<utterance>, counted from 0."""
    dialogues = read_json_data(path)
    if not isinstance(dialogues, list) or not all(isinstance(dialogue, list) for dialogue in dialogues):
        raise InputError(f"{path}: a list of dialogues, each a list of utterances, was expected")
    utterances = []
    for i, dialogue in enumerate(dialogues):
        for j, entry in enumerate(dialogue):
            where = f"{path}, dialogue {i}, utterance {j}"
            if not isinstance(entry, dict):
                raise InputError(f"{where}: an object with speaker, utterance and emotion was expected")
            for key in ("speaker", "utterance"):
                if not isinstance(entry.get(key), str):
                    found = "is missing" if key not in entry else f"is {type(entry[key]).__name__}"
                    raise InputError(f"{where}, column {key}: {found}, a string was expected")
            speaker = nfc(mend(entry["speaker"]))
            text = mend(entry["utterance"])
            check_line(text, entry.get("emotion"), where)
            utterances.append(Utterance(f"{i}_{j}", str(i), speaker, text, entry.get("emotion")))
    return utterances


def read_kaggle_table(path: Path, mend: Callable[[str], str]) -> list[Utterance]:
    """id,i_dialog,i_utterance,speaker,utterance[,emotion]; rows of one dialogue stand together, in order.

    Columns are found by name, others are not read. Says how many lines are missing in between, or at a dialogue's
    beginning, as of one that is cut in two files: the context of the line behind them is the one before.
    """
    table = read_table(path)
    header = table.header
    if not {*CSV_COLUMNS} <= {*header}:
        expected = f"expected {','.join(CSV_COLUMNS)} and, if labelled, emotion, or a .json file of EmotionLines"
        raise InputError(f"{path}, row 1: columns are {','.join(header)!r:.200}, {expected}")
    utterances: list[Utterance] = []
    last: tuple[str, int] = ("", -1)  # dialogue and number of the row before
    finished: set[str] = set()
    first_row: dict[str, int] = {}
    gaps: list[int] = []
    first: dict[int, int] = {}  # row of a dialogue's first line that is there -> its number
    for row, entry in table.records(CSV_COLUMNS):
        where = f"{path}, row {row}"
        emotion = entry.get("emotion") or None
        for key in ("i_dialog", "i_utterance"):
            if not (entry[key].isdecimal() and len(entry[key]) < 20):
                raise InputError(f"{where}, column {key}: {entry[key]!r:.80}, a number from 0 was expected")
        check_id(entry["id"], "id", row, first_row, path)
        speaker = nfc(mend(entry["speaker"]))
        text = mend(entry["utterance"])
        check_line(text, emotion, where)
        dialogue = entry["i_dialog"]
        number = int(entry["i_utterance"])
        if dialogue in finished:
            wanted = "the lines of a dialogue must stand together"
            raise InputError(f"{where}, column i_dialog: dialogue {dialogue} was left before; {wanted}")
        if last[0] == dialogue and number <= last[1]:
            wanted = "the lines of a dialogue must be in order"
            raise InputError(f"{where}, column i_utterance: {number} after {last[1]}; {wanted}")
        if last[0] != dialogue:
            finished.add(last[0])
            first[row] = number
        elif number > last[1] + 1:
            gaps.append(row)
        last = dialogue, number
        utterances.append(Utterance(entry["id"], dialogue, speaker, text, emotion))
    counted_from = min([1, *first.values()])
    gaps = sorted([*gaps, *(row for row, number in first.items() if number > counted_from)])
    if gaps:
        what = f"in front of {len(gaps)} rows lines of the dialogue are missing (first: row {gaps[0]})"
        print_once(f"{path.name}: {what}; their context is the last line that is there")
    return utterances


def check_line(text: str, emotion: object, where: str) -> None:
    if not text.strip():
        raise InputError(f"{where}, column utterance: is empty")
    check_text(text, f"{where}, column utterance")
    if emotion is not None and emotion not in LABEL_NAMES:
        raise InputError(f"{where}, column emotion: {emotion!r:.80} is not one of {', '.join(LABEL_NAMES)}")


# cp1252 read as Latin-1 leaves its punctuation as the control characters 0x80 to 0x9f; what cp1252 does not define
# goes.
CONTROL = {code: bytes([code]).decode("cp1252", errors="ignore") for code in range(0x80, 0xA0)}
PLAIN = {"‘": "'", "’": "'", "“": '"', "”": '"', "…": "...", "\xa0": " "}
CONTRACTION = re.compile(
    r"(?<=[a-z])\?(?=(?:s|t|d|m|re|ve|ll|em|am|all|clock|know|mon)\b)|(?-i:(?<=in)(?<!again)\?(?= [a-z]))",
    re.IGNORECASE,
)
DASH = re.compile(r"(?<=[a-z])\?(?=[a-z])", re.IGNORECASE)


def repair_text(text: str) -> str:
    """cp1252 punctuation as plain ASCII; a '?' inside a word as the apostrophe that it was, or between two words as the
    dash."""
    text = text.translate(CONTROL)
    for old, new in PLAIN.items():
        text = text.replace(old, new)
    return DASH.sub("—", CONTRACTION.sub("'", text))


def frequent_speakers(utterances: list[Utterance], min_share: float) -> list[str]:
    """Speakers of at least that share of the lines, by name."""
    counts = Counter(utterance.speaker for utterance in utterances)
    return sorted(speaker for speaker, count in counts.items() if count >= min_share * len(utterances))


def make_examples(
    utterances: list[Utterance], speaker_format: str, context: str, speakers: list[str] | None
) -> list[TextExample]:
    """One row per line, grouped by dialogue. speakers: the names that are kept in the text; None: all."""
    examples = []
    places = CONTEXTS[context]
    lines = [line_text(utterance, speaker_format, speakers) for utterance in utterances]
    for i, utterance in enumerate(utterances):
        segments = []
        for offset in places:
            inside = 0 <= i + offset < len(utterances) and utterances[i + offset].dialogue == utterance.dialogue
            segments.append(lines[i + offset] if inside else NO_NEIGHBOUR)
        label = -1 if utterance.emotion is None else LABEL_NAMES.index(utterance.emotion)
        examples.append(TextExample(utterance.id, segments, label, utterance.dialogue, places.index(0), context=True))
    return examples


def fill_template(
    utterances: list[Utterance], template: str, speaker_format: str, speakers: list[str] | None
) -> list[TextExample]:
    """make_examples() with the template's fields as segments. What stands before a dialogue's first line is empty."""
    lines = [line_text(utterance, speaker_format, speakers) for utterance in utterances]
    fields = fields_of(template)
    examples = []
    for i, utterance in enumerate(utterances):
        values = {"speaker": utterance.speaker if speakers is None or utterance.speaker in speakers else ""}
        for name, offset in TEMPLATE_PLACES.items():
            inside = 0 <= i + offset < len(utterances) and utterances[i + offset].dialogue == utterance.dialogue
            values[name] = lines[i + offset] if inside else ""
        label = -1 if utterance.emotion is None else LABEL_NAMES.index(utterance.emotion)
        segments = [values[name] for name in fields]
        row = TextExample(utterance.id, segments, label, utterance.dialogue, fields.index("current"), template, True)
        examples.append(row)
    return examples


def line_text(utterance: Utterance, speaker_format: str, speakers: list[str] | None) -> str:
    known = speakers is None or utterance.speaker in speakers
    return SPEAKER_FORMATS[speaker_format if known else "none"].format(
        speaker=utterance.speaker, utterance=utterance.text
    )


def special_tokens(speaker_format: str, context: str, speakers: list[str]) -> list[str]:
    """The bracketed words that the rows can hold."""
    tokens = [] if context == "current" else [NO_NEIGHBOUR]
    if speaker_format in ("bracket", "says"):
        tokens += [f"[{speaker}]" for speaker in speakers]
    return [*tokens, "[Says]"] if speaker_format == "says" else tokens
