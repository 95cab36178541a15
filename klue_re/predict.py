"""Predict a file with the models of one or several runs: the logits of all their folds are averaged by id.

accelerate launch {task}/predict.py --run_dir RUN --test_file {task}/data/test.tsv
accelerate launch {task}/predict.py --run_dir RUN OTHER_RUN --weights 2 1 --test_file T.tsv --ner_file N.tsv
accelerate launch {task}/predict.py --run_dir RUN --test_file {task}/data/train.tsv          # with labels: metrics too
"""

from pathlib import Path  # PYTHON_ARGCOMPLETE_OK

from common.console import run_main
from common.options import parse_predict_args

from data import SUBMISSIONS, TaskPredictArguments, make_preprocessing, read_examples


def main(args: TaskPredictArguments) -> None:
    """For each fold of each run: read, tokenize, predict; then average and write."""
    from common.examples import cut_test_rows
    from common.files import read_json
    from common.inference import Ensemble
    from common.models import load_fold
    from common.text import Collator

    from entities import PREPROCESSING, EntityFormat, mark_and_tokenize, tokenize
    from metrics import relation_metrics
    from model import RBertForRelationExtraction  # noqa: F401  (load_fold finds it by config.json once it is imported)

    ensemble = Ensemble(args)
    # the labels of the first model; load_fold() wants the same of all others
    label_names = list(read_json(ensemble.runs[0][0] / "config.json").get("id2label", {}).values())
    preprocessing = make_preprocessing(args, label_names)
    for folds in ensemble.runs:
        for fold in folds:
            model, tokenizer = load_fold(fold, ensemble.device, label_names, PREPROCESSING)
            if fold == folds[0]:  # the folds of a run share tokenizer and preprocessing
                form, max_length = EntityFormat.of_preprocessing(model.config.preprocessing)
                examples = cut_test_rows(args, read_examples(args.test_file, preprocessing))
                submission = SUBMISSIONS[args.submission_format].expect(args, examples, label_names)
                marked = mark_and_tokenize(examples, form, tokenizer)
                rows = tokenize(marked, form, tokenizer, max_length, ensemble.cache_file())
            ensemble.predict(model, rows, Collator(tokenizer), args.tokens_per_batch)
    ensemble.write(submission, relation_metrics)


if __name__ == "__main__":
    run_main(lambda: main(parse_predict_args(TaskPredictArguments, Path(__file__).parent, __doc__)))
