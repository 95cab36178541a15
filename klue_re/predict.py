"""Predict a file with the models of one or several runs: the logits of all their folds are averaged by id.

accelerate launch klue_re/predict.py --run_dir runs/klue_re/final --test_file klue_re/data/test.tsv
accelerate launch klue_re/predict.py --run_dir runs/klue_re/final runs/klue_re/best --weights 1 2 \
    --test_file T.tsv --ner_file N.tsv
# with labels: metrics too
accelerate launch klue_re/predict.py --run_dir runs/klue_re/final --test_file klue_re/data/train.tsv
"""

from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from common.console import print_once, run_main
from common.options.args import parse_predict_args
from common.options.fields import TextPredictArguments

from data import SUBMISSION_FORMATS, read_examples, read_ner, submission_columns


@dataclass
class TaskPredictArguments(TextPredictArguments):
    """Fields of predict.py beside the common ones."""

    ner_file: str | None = field(
        default=None, metadata={"help": "TSV of id and the types of both entities, where the models read types"}
    )
    submission_format: Literal[tuple(SUBMISSION_FORMATS)] = field(
        default="competition",
        metadata={"help": "pred (label numbers in the test file's order), or KLUE's id, pred_label, probs"},
    )


def main() -> None:
    args = parse_predict_args(TaskPredictArguments, __doc__)

    # torch and transformers are imported only now: --help answers at once
    from common.examples import check_examples
    from common.files import read_json
    from common.inference import predict_logits, start_accelerator
    from common.logits import average
    from common.models import load_fold
    from common.results import write_predictions
    from common.run import finished_folds, read_config
    from common.submission import find_sample_ids, submit
    from common.text import Collator

    from entities import PREPROCESSING, EntityFormat, mark_and_tokenize, tokenize
    from metrics import relation_metrics
    from model import RBertForRelationExtraction  # noqa: F401  (load_fold finds it by config.json once it is imported)

    runs = [(finished_folds(run_dir), read_config(run_dir)) for run_dir in args.run_dir]
    accelerator = start_accelerator(runs[0][1])
    parts = []
    weights = []
    sample_ids = None
    # the labels of the first model; load_fold wants the same of all others
    label_names = list(read_json(runs[0][0][0] / "config.json").get("id2label", {}).values())
    ner = read_ner(args.ner_file) if args.ner_file else {}
    id_column, columns = SUBMISSION_FORMATS[args.submission_format]
    with TemporaryDirectory() as cache:
        for (folds, _), weight in zip(runs, args.weights or [1.0] * len(runs), strict=True):
            rows = None
            for fold in folds:
                model, tokenizer = load_fold(fold, accelerator.device, label_names, PREPROCESSING)
                if rows is None:  # the folds of a run share tokenizer and preprocessing
                    how = dict(model.config.preprocessing)
                    max_length = how.pop("max_length")
                    entity_format = EntityFormat(**how)
                    examples, note = read_examples(args.test_file, label_names, ner)
                    print_once(note)
                    examples = examples[: args.max_predict_samples]
                    check_examples(examples, args.test_file)
                    if not parts:
                        sample_ids = find_sample_ids(args, [row.id for row in examples], columns, id_column)
                    marked = mark_and_tokenize(examples, entity_format, tokenizer)
                    rows = tokenize(marked, entity_format, tokenizer, max_length, Path(cache) / f"{len(parts)}.arrow")
                parts.append(
                    predict_logits(model, rows, Collator(tokenizer), accelerator, label_names, args.tokens_per_batch)
                )
                weights.append(weight / len(folds))
    logits = average(parts, weights)

    if args.prior_correction:
        from common.tricks.shift import correct_folds

        logits = correct_folds(logits, [fold for folds, _ in runs for fold in folds])
    if accelerator.is_main_process:
        path = Path(args.submission_file)
        submit(path, logits, sample_ids, args, lambda rows: submission_columns(rows, args.submission_format), id_column)
        write_predictions(path, logits, relation_metrics)
    accelerator.wait_for_everyone()
    accelerator.end_training()


if __name__ == "__main__":
    run_main(main)
