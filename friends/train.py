"""Emotion of a line in a dialogue (EmotionLines 'Friends', 8 classes): train, predict, write a submission.

accelerate launch {task}/train.py                      # the competition's files in {task}/data/, else the sample
accelerate launch {task}/train.py --config {task}/configs/tune.yaml --train_file T.json --eval_file D.json
accelerate launch {task}/train.py --config {task}/configs/final.yaml --fold 0       # one fold; --resume collects all
accelerate launch {task}/train.py --config {task}/configs/final.yaml --resume
"""

from pathlib import Path  # PYTHON_ARGCOMPLETE_OK
from typing import TYPE_CHECKING

from common.console import run_main
from common.options import parse_train_args

from data import COMPETITION_FILES, LABEL_NAMES, SUBMISSION, TaskArguments, make_preprocessing, read_examples

if TYPE_CHECKING:
    from transformers import TrainingArguments

TASK_DIR = Path(__file__).parent


def main(args: TaskArguments, training_args: "TrainingArguments") -> None:
    """Read, split, tokenize, train each fold, average and write."""
    # torch and transformers are imported only now: --help answers at once
    from common.examples import read_files, texts_of
    from common.folds import folds_to_train, make_splits
    from common.guards.first_pass import check_forward
    from common.inference import predict_fold
    from common.models import load_model, load_tokenizer
    from common.report.run_page import report_run
    from common.results import collect, save_fold
    from common.run import Run
    from common.search.features import write_features
    from common.text import Collator, find_max_length, tokenize
    from common.text_trainer import TextTrainer
    from common.training import train_fold

    run = Run(args, training_args, TASK_DIR)

    # Read. Everything that can be wrong with the input is wrong here, before anything is written.
    with run.phase("read"):
        preprocessing = make_preprocessing(args)
        examples = read_files(args, lambda path: read_examples(path, preprocessing))
        submission = SUBMISSION.expect(args, examples.get("test"), LABEL_NAMES)

    # Split. Rows of one group (a dialogue) stay together; without folds and without an eval_file, a tenth is held back.
    splits = make_splits(examples, LABEL_NAMES, args)
    if args.adversarial_validation:
        from common.tricks.shift import compare_files

        run.note(compare_files(examples, args.fold_seed))

    # Tokenize, once for all folds.
    with run.phase("tokenize"):
        tokenizer = load_tokenizer(args, texts_of(examples["train"]), preprocessing["special_tokens"])
        max_length, share_cut = find_max_length(examples["train"], tokenizer, args.max_length)
        run.note(f"max_length {max_length}: {share_cut:.2%} of the training rows are cut")

        def make_model():
            model = load_model(args, LABEL_NAMES, tokenizer)
            # what predict.py must do to a row travels with the weights
            model.config.preprocessing = {**preprocessing, "max_length": max_length}
            return model

        # before anything is written, because damaged weights are bad input, too
        collate = Collator(tokenizer)
        model = check_forward(make_model, examples["train"], lambda x: tokenize(x, tokenizer, max_length), collate)
        run.start(examples)
        datasets = {key: tokenize(rows, tokenizer, max_length, run.cache_file(key)) for key, rows in examples.items()}
        write_features(run, examples["train"], datasets["train"], model)
        del model

    # Train each fold, predict what it has not seen, keep the model and its logits.
    for fold in folds_to_train(run, splits, datasets):
        trainer, info = train_fold(fold, make_model, collate, TextTrainer)
        logits = predict_fold(fold, trainer)
        save_fold(fold, trainer.model, logits, info, "text-classification", tokenizer)
        del trainer  # with its optimizer, because the next fold needs the memory

    # Average and write.
    if args.fold is None:
        results = collect(run, examples["train"])
        submission.write(run.dir / "submission.csv", results.get("test"))
        report_run(run, results)
    run.finish()


if __name__ == "__main__":
    run_main(lambda: main(*parse_train_args(TaskArguments, TASK_DIR, COMPETITION_FILES, __doc__)))
