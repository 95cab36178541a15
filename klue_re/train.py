"""Relation of two entities in a sentence (KLUE-RE, 42 labels): train, predict, write a submission.

accelerate launch {task}/train.py                      # the competition's files in {task}/data/, else the sample
accelerate launch {task}/train.py --config {task}/configs/tune.yaml --train_file T.tsv --eval_file D.tsv
accelerate launch {task}/train.py --config {task}/configs/final.yaml --fold 0       # one fold; --resume collects all
accelerate launch {task}/train.py --config {task}/configs/final.yaml --resume
accelerate launch {task}/train.py --config {task}/configs/best.yaml --ner_file {task}/data/ner.tsv
"""

from pathlib import Path  # PYTHON_ARGCOMPLETE_OK
from typing import TYPE_CHECKING

from common.console import run_main
from common.options import parse_train_args

from data import COMPETITION_FILES, SUBMISSIONS, TaskArguments, apply_label_fixes, make_preprocessing, read_examples

if TYPE_CHECKING:
    from transformers import TrainingArguments

TASK_DIR = Path(__file__).parent


def main(args: TaskArguments, training_args: "TrainingArguments") -> None:
    """Read, split, tokenize, train each fold, average and write."""
    # torch and transformers are imported only now: --help answers at once
    from common.examples import labels_of, read_files
    from common.folds import folds_to_train, make_splits
    from common.guards.first_pass import check_forward
    from common.inference import predict_fold
    from common.models import load_tokenizer
    from common.report.run_page import report_run
    from common.results import collect, save_fold
    from common.run import Run
    from common.search.features import write_features
    from common.text import Collator
    from common.text_trainer import TextTrainer
    from common.training import train_fold
    from common.tricks.left_out import without_rows

    from entities import EntityFormat, find_max_length, mark_and_tokenize, marked_texts, tokenize
    from metrics import relation_metrics
    from model import head_options, load_relation_model

    run = Run(args, training_args, TASK_DIR)

    # Read. Everything that can be wrong with the input is wrong here, before anything is written.
    with run.phase("read"):
        preprocessing = make_preprocessing(args)
        label_names = preprocessing["label_names"]

        def read(path):
            rows = read_examples(path, preprocessing, run.note)
            if args.label_fixes and path == args.train_file:
                run.note(apply_label_fixes(rows, args.label_fixes, label_names))
            return rows

        examples = read_files(args, read)
        submission = SUBMISSIONS[args.submission_format].expect(args, examples.get("test"), label_names)

    # Split. Rows of one group (the same sentence) stay together; without folds and an eval_file, a tenth is held back.
    splits = make_splits(examples, label_names, args)
    if args.adversarial_validation:
        from common.tricks.shift import compare_files

        run.note(compare_files(examples, args.fold_seed))

    # Tokenize, once for all folds. Entities are marked first; a vocabulary from scratch is made of the marked texts.
    with run.phase("tokenize"):
        form = EntityFormat.of(args, [row for rows in examples.values() for row in rows])
        special_tokens = form.special_tokens()
        tokenizer = load_tokenizer(args, marked_texts(examples["train"], form), special_tokens)
        marked = {name: mark_and_tokenize(rows, form, tokenizer) for name, rows in examples.items()}
        max_length, is_long = find_max_length(marked, tokenizer, args.max_length)
        fate = "not trained on" if args.long_examples == "drop" else "cut to the text around both entities"
        if args.long_examples == "drop":
            splits = without_rows(splits, is_long, labels_of(examples["train"]), f"long_examples, length {max_length}")
        run.note(f"max_length {max_length}: {is_long.sum()} of {len(is_long)} training rows are longer, {fate}")

        def make_model():
            options = head_options(args, form.num_ner_types)
            model = load_relation_model(args, label_names, tokenizer, options, special_tokens)
            # what predict.py must do to a row travels with the weights
            model.config.preprocessing = form.preprocessing(max_length)
            return model

        # before anything is written, because damaged weights are bad input, too
        collate = Collator(tokenizer)
        model = check_forward(make_model, marked["train"], lambda x: tokenize(x, form, tokenizer, max_length), collate)
        run.start(examples)
        datasets = {k: tokenize(rows, form, tokenizer, max_length, run.cache_file(k)) for k, rows in marked.items()}
        write_features(run, examples["train"], datasets["train"], model)
        del model

    # Train each fold, predict what it has not seen, keep the model and its logits.
    for fold in folds_to_train(run, splits, datasets):
        trainer, info = train_fold(fold, make_model, collate, TextTrainer)
        logits = predict_fold(fold, trainer)
        save_fold(fold, trainer.model, logits, info, "text-classification", tokenizer, relation_metrics)
        del trainer  # with its optimizer, because the next fold needs the memory

    # Average and write.
    if args.fold is None:
        results = collect(run, examples["train"], relation_metrics)
        submission.write(run.dir / "submission.csv", results.get("test"))
        report_run(run, results)
    run.finish()


if __name__ == "__main__":
    run_main(lambda: main(*parse_train_args(TaskArguments, TASK_DIR, COMPETITION_FILES, __doc__)))
