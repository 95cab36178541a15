"""Sentiment of a movie review (NSMC, Naver, 2 classes): train, predict the test file, write the submission and a
report.

accelerate launch nsmc/train.py  # the competition's files in nsmc/data/, else the sample
accelerate launch nsmc/train.py --config nsmc/configs/tune.yaml --train_file T.txt --eval_file D.txt
accelerate launch nsmc/train.py --config nsmc/configs/final.yaml --fold 0      # one fold; then --resume collects all
accelerate launch nsmc/train.py --config nsmc/configs/final.yaml --resume
"""

from pathlib import Path

import numpy as np

from common.args import parse_train_args, print_once
from common.errors import run_main

from data import (
    COMPETITION_FILES,
    ID_COLUMN,
    LABEL_NAMES,
    SUBMISSION_CHECK,
    SUBMISSION_COLUMNS,
    TaskArguments,
    drop_duplicates,
    read_examples,
    submission_columns,
)

TASK_DIR = Path(__file__).parent


def main() -> None:
    args, training_args = parse_train_args(TaskArguments, TASK_DIR, COMPETITION_FILES, __doc__)

    # torch and transformers are imported only now: --help answers at once
    from common.examples import check_examples, labels_of
    from common.features import measure
    from common.folds import make_splits
    from common.inference import predict_logits
    from common.results import collect, push_folds, save_fold
    from common.run import Run
    from common.sampling import resample
    from common.submission import find_sample_ids, submit
    from common.text import Collator, find_max_length, load_model, load_tokenizer, tokenize
    from common.training import train_fold

    run = Run(args, training_args, TASK_DIR)
    notes = []

    # Read: everything that can be wrong with the input is wrong here, before anything is written.
    with run.phase("read"):
        examples = {
            name: read_examples(path)[:limit]
            for name, path, limit in [
                ("train", args.train_file, args.max_train_samples),
                ("eval", args.eval_file, args.max_eval_samples),
                ("test", args.test_file, args.max_predict_samples),
            ]
            if path
        }
        for name, rows in examples.items():
            check_examples(
                rows, getattr(args, f"{name}_file"), labelled=name != "test", least_classes=2 if name == "train" else 1
            )
        sample_ids = None
        if "test" in examples:
            sample_ids = find_sample_ids(args, [row.id for row in examples["test"]], SUBMISSION_COLUMNS, ID_COLUMN)

    # Split: rows of one group (the same text) stay together. Without folds and without an eval_file, a tenth is held
    # back.
    labels = labels_of(examples["train"])
    groups = np.array([row.group for row in examples["train"]])
    splits = make_splits(labels, groups, LABEL_NAMES, args, has_eval="eval" in examples)
    if args.drop_duplicates:
        splits, note = drop_duplicates(examples["train"], splits)
        notes.append(note)
        print_once(notes[-1])
    if args.adversarial_validation:
        from common.shift import compare_files

        notes.append(compare_files(examples, args.fold_seed))
        print_once(notes[-1])

    # Tokenize once for all folds.
    with run.phase("tokenize"):
        texts = [segment for row in examples["train"] for segment in row.segments]
        tokenizer = load_tokenizer(args.model_name_or_path, texts, trust_remote_code=args.trust_remote_code)
        max_length, share_cut = find_max_length(examples["train"], tokenizer, args.max_length)
        notes.append(f"max_length {max_length}: {share_cut:.2%} of the training rows are cut")

        def make_model():
            model = load_model(args.model_name_or_path, LABEL_NAMES, tokenizer, args.trust_remote_code)
            if args.freeze_word_embeddings:
                model.get_input_embeddings().weight.requires_grad_(False)
            # What predict.py must do to a row travels with the weights.
            model.config.preprocessing = {"max_length": max_length}
            return model

        model = make_model()  # or damaged weights would be found too late
        run.start({f"{name}_file": len(rows) for name, rows in examples.items()})
        datasets = {
            name: tokenize(rows, tokenizer, max_length, run.cache_file(name)) for name, rows in examples.items()
        }
        run.write_features(measure(examples["train"], datasets["train"], len(LABEL_NAMES), model))
        del model
    collate = Collator(tokenizer)

    seed = training_args.seed
    for fold, (train_idx, eval_idx) in enumerate(splits):
        if run.is_done(fold) or args.fold not in (None, fold):
            continue
        train_idx = train_idx[
            resample(labels[train_idx], args.oversample_ratio, args.undersample_ratio, args.fold_seed)
        ]
        eval_rows = datasets["eval"] if eval_idx is None else datasets["train"].select(eval_idx)
        training_args.seed = seed + fold
        with run.phase("train"):
            train_rows = datasets["train"].select(train_idx)
            trainer, info = train_fold(
                make_model, train_rows, eval_rows, collate, args, training_args, run.fold_dir(fold), LABEL_NAMES
            )
        with run.phase("predict"):
            parts = {name: datasets[name] for name in ("eval", "test") if name in datasets}
            if eval_idx is not None:
                parts["held_out"] = eval_rows
            logits = {
                name: predict_logits(trainer.model, rows, collate, trainer.accelerator, LABEL_NAMES)
                for name, rows in parts.items()
            }
        save_fold(
            run, fold, trainer.accelerator.unwrap_model(trainer.model), logits, info, "text-classification", tokenizer
        )
        del trainer  # with its optimizer, before the next fold needs the memory
    training_args.seed = seed

    if args.fold is None:
        results = collect(run, [row.id for row in examples["train"]], len(splits), notes)
        if "test" in results and run.state.is_main_process:
            path = run.dir / "submission.csv"
            submit(path, results["test"], sample_ids, args, submission_columns, ID_COLUMN, **SUBMISSION_CHECK)
        push_folds(run, training_args)
    run.finish()
    print_once(f"done: {run.dir}")


if __name__ == "__main__":
    run_main(main)
