"""Predict a file with the models of one or several runs: the logits of all their folds are averaged by id.

accelerate launch nsmc/predict.py --run_dir runs/nsmc/final --test_file nsmc/data/ko_data.csv
accelerate launch nsmc/predict.py --run_dir runs/nsmc/final runs/nsmc/tune --weights 2 1 --test_file T.csv
# with labels: metrics too
accelerate launch nsmc/predict.py --run_dir runs/nsmc/final --test_file nsmc/data/ratings_test.txt
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from common.args import parse_predict_args
from common.errors import run_main
from common.fields import TextPredictArguments

from data import (
    ID_COLUMN,
    LABEL_NAMES,
    PREPROCESSING,
    SUBMISSION_CHECK,
    SUBMISSION_COLUMNS,
    read_examples,
    submission_columns,
)


def main() -> None:
    args = parse_predict_args(TextPredictArguments, __doc__)

    # torch and transformers are imported only now: --help answers at once
    from common.examples import check_examples
    from common.inference import predict_logits, start_accelerator
    from common.logits import average
    from common.results import write_predictions
    from common.run import finished_folds, read_config
    from common.submission import find_sample_ids, submit
    from common.text import Collator, load_fold, tokenize

    runs = [(finished_folds(run_dir), read_config(run_dir)) for run_dir in args.run_dir]
    accelerator = start_accelerator(runs[0][1])
    parts = []
    weights = []
    sample_ids = None
    with TemporaryDirectory() as cache:
        for (folds, _), weight in zip(runs, args.weights or [1.0] * len(runs), strict=True):
            rows = None
            for fold in folds:
                model, tokenizer = load_fold(fold, accelerator.device, LABEL_NAMES, PREPROCESSING)
                if rows is None:  # the folds of a run share tokenizer and preprocessing
                    examples = read_examples(args.test_file)[: args.max_predict_samples]
                    check_examples(examples, args.test_file)
                    if not parts:
                        sample_ids = find_sample_ids(args, [row.id for row in examples], SUBMISSION_COLUMNS, ID_COLUMN)
                    rows = tokenize(
                        examples,
                        tokenizer,
                        model.config.preprocessing["max_length"],
                        Path(cache) / f"{len(parts)}.arrow",
                    )
                parts.append(
                    predict_logits(model, rows, Collator(tokenizer), accelerator, LABEL_NAMES, args.tokens_per_batch)
                )
                weights.append(weight / len(folds))
    logits = average(parts, weights)

    if args.prior_correction:
        from common.shift import correct_folds

        logits = correct_folds(logits, [fold for folds, _ in runs for fold in folds])
    if accelerator.is_main_process:
        path = Path(args.submission_file)
        submit(path, logits, sample_ids, args, submission_columns, ID_COLUMN, **SUBMISSION_CHECK)
        write_predictions(path, logits)
    accelerator.wait_for_everyone()
    accelerator.end_training()


if __name__ == "__main__":
    run_main(main)
