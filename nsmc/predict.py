"""Predict a file with the models of one or several runs: the logits of all their folds are averaged by id.

accelerate launch {task}/predict.py --run_dir RUN --test_file {task}/data/ko_data.csv
accelerate launch {task}/predict.py --run_dir RUN OTHER_RUN --weights 2 1 --test_file T.csv
accelerate launch {task}/predict.py --run_dir RUN --test_file {task}/data/ratings_test.txt   # with labels: metrics too
"""

from pathlib import Path  # PYTHON_ARGCOMPLETE_OK

from common.console import run_main
from common.options import TextPredictArguments, parse_predict_args

from data import LABEL_NAMES, PREPROCESSING, SUBMISSION, read_examples


def main(args: TextPredictArguments) -> None:
    """For each fold of each run: read, tokenize, predict; then average and write."""
    from common.examples import cut_test_rows
    from common.inference import Ensemble
    from common.models import load_fold
    from common.text import Collator, tokenize

    ensemble = Ensemble(args)
    for folds in ensemble.runs:
        for fold in folds:
            model, tokenizer = load_fold(fold, ensemble.device, LABEL_NAMES, PREPROCESSING)
            if fold == folds[0]:  # the folds of a run share tokenizer and preprocessing
                preprocessing = model.config.preprocessing
                examples = cut_test_rows(args, read_examples(args.test_file, preprocessing))
                submission = SUBMISSION.expect(args, examples, LABEL_NAMES)
                rows = tokenize(examples, tokenizer, preprocessing["max_length"], ensemble.cache_file())
            ensemble.predict(model, rows, Collator(tokenizer), args.tokens_per_batch)
    ensemble.write(submission)


if __name__ == "__main__":
    run_main(lambda: main(parse_predict_args(TextPredictArguments, Path(__file__).parent, __doc__)))
