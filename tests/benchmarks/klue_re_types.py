"""Entity types for the competition's TSV, which has none, and no tagger is at hand: guessed from the entity and what
follows it.

    python tests/benchmarks/klue_re_types.py --train_file T.tsv --output_file ner.tsv

The names of the labels say what their entities are (a person's date of birth: a person and a date). A logistic
regression over character n-grams learns that from the related rows and guesses the types of all; no row is guessed by a
model that saw its sentence (5 folds). The types are PER, ORG, LOC, DAT, POH and NOH, as in KLUE. Prints how often a
guess is what the label's name says.
"""

import argparse
import csv
import sys
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline

sys.path.insert(0, str(Path(__file__).parents[2] / "klue_re"))
from data import LABEL_FILE, read_examples, read_label_names  # noqa: E402

SUBJECTS = {"인물": "PER", "단체": "ORG"}
# type of entity 2 -> the second half of the labels that say so; 구성원, 주주 and 용의자 can be persons
# or organisations and say nothing
OBJECTS = {
    "PER": ["배우자", "동료", "부모님", "기타_친족", "자녀", "형제/자매/남매", "창립자"],
    "ORG": ["소속단체", "모회사", "상위_단체", "하위_단체", "자회사", "학교", "종교", "정치/종교성향"],
    "LOC": [
        "출신성분/국적",
        *(f"{what}_{where}" for what in ("본사", "출생", "거주", "사망") for where in ("국가", "도시", "주(도)")),
    ],
    "DAT": ["사망_일시", "출생_일시", "해산일", "창립일"],
    "POH": ["직업/직함", "제작", "사망_원인"],
    "NOH": ["구성원_수", "나이"],
}
TYPE_OF = {half: kind for kind, halves in OBJECTS.items() for half in halves}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train_file", required=True, help="the competition's train.tsv")
    parser.add_argument(
        "--output_file", required=True, type=Path, help="ner.tsv: id, type of entity 1, type of entity 2"
    )
    args = parser.parse_args()
    names = read_label_names(LABEL_FILE)
    examples = read_examples(args.train_file, {"label_names": names, "ner": {}})
    texts, types, sentences = [], [], []  # of entity 1 and entity 2 in turn
    for example in examples:
        subject, _, half = names[example.label].partition(":")
        kinds = (SUBJECTS.get(subject), SUBJECTS[subject] if half == "별칭" else TYPE_OF.get(half))
        for entity, kind in zip((example.e1, example.e2), kinds, strict=True):
            sentence = example.segments[0]
            texts.append(f"{sentence[entity.start : entity.end + 1]} | {sentence[entity.end + 1 : entity.end + 4]}")
            types.append(kind or "")
            sentences.append(example.group)
    texts, types = np.array(texts), np.array(types)
    guessed = np.full(len(texts), "   ")
    for train, rest in GroupKFold(5).split(texts, groups=np.array(sentences)):
        known = train[types[train] != ""]
        model = make_pipeline(
            TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 3), sublinear_tf=True),
            LogisticRegression(C=10, max_iter=1000),
        )
        guessed[rest] = model.fit(texts[known], types[known]).predict(texts[rest])
    told = types != ""
    print(f"{np.mean(guessed[told] == types[told]):.3f} of {told.sum()} entities as their label says")
    with args.output_file.open("w", encoding="utf-8", newline="") as file:
        rows = zip((e.id for e in examples), guessed[::2], guessed[1::2], strict=True)
        csv.writer(file, delimiter="\t", lineterminator="\n").writerows(rows)


if __name__ == "__main__":
    main()
