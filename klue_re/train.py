"""Relation of two entities in a sentence (KLUE-RE, 42 labels): train, predict the test file, write the submission and a
report.

accelerate launch klue_re/train.py  # the competition's files in klue_re/data/, else the sample
accelerate launch klue_re/train.py --config klue_re/configs/tune.yaml --train_file T.tsv --eval_file D.tsv
accelerate launch klue_re/train.py --config klue_re/configs/final.yaml --fold 0  # one fold; then --resume collects all
accelerate launch klue_re/train.py --config klue_re/configs/final.yaml --resume
accelerate launch klue_re/train.py --config klue_re/configs/best.yaml --ner_file klue_re/data/ner.tsv
"""

from pathlib import Path

import numpy as np

from common.console import print_once, run_main
from common.options.args import parse_train_args

from data import (
    COMPETITION_FILES,
    LABEL_FILE,
    MODEL_FIELDS,
    SUBMISSION_FORMATS,
    TaskArguments,
    apply_label_fixes,
    check_options,
    drop_rows,
    read_examples,
    read_label_names,
    read_ner,
    submission_columns,
)

TASK_DIR = Path(__file__).parent


def main() -> None:
    args, training_args = parse_train_args(TaskArguments, TASK_DIR, COMPETITION_FILES, __doc__)

    # torch and transformers are imported only now: --help answers at once
    from common.examples import check_examples, labels_of
    from common.folds import make_splits, resample
    from common.inference import predict_logits
    from common.models import load_tokenizer
    from common.results import collect, push_folds, save_fold
    from common.run import Run
    from common.search.features import measure
    from common.submission import find_sample_ids, submit
    from common.text import Collator
    from common.training import train_fold

    from entities import EntityFormat, check_room, find_max_length, mark_and_tokenize, marked_text, tokenize
    from metrics import relation_metrics
    from model import load_relation_model

    run = Run(args, training_args, TASK_DIR)
    notes = []

    # Read: everything that can be wrong with the input is wrong here, before anything is written.
    with run.phase("read"):
        check_options(args)
        label_names = read_label_names(args.label_file or LABEL_FILE)
        ner = read_ner(args.ner_file) if args.ner_file else {}
        examples = {}
        for name, path, limit in [
            ("train", args.train_file, args.max_train_samples),
            ("eval", args.eval_file, args.max_eval_samples),
            ("test", args.test_file, args.max_predict_samples),
        ]:
            if path:
                rows, note = read_examples(path, label_names, ner)
                notes.append(note)
                if name == "train" and args.label_fixes:
                    notes.append(apply_label_fixes(rows, args.label_fixes, label_names))
                examples[name] = rows[:limit]
        print_once("\n".join(notes))
        id_column, columns = SUBMISSION_FORMATS[args.submission_format]
        for name, rows in examples.items():
            check_examples(
                rows, getattr(args, f"{name}_file"), labelled=name != "test", least_classes=2 if name == "train" else 1
            )
        sample_ids = None
        if "test" in examples:
            sample_ids = find_sample_ids(args, [row.id for row in examples["test"]], columns, id_column)

    # Split: rows of one group (the same sentence) stay together. Without folds and without an eval_file, a tenth is
    # held back.
    labels = labels_of(examples["train"])
    groups = np.array([row.group for row in examples["train"]])
    splits = make_splits(labels, groups, label_names, args, has_eval="eval" in examples)
    if args.adversarial_validation:
        from common.tricks.shift import compare_files

        notes.append(compare_files(examples, args.fold_seed))
        print_once(notes[-1])

    # Tokenize once for all folds.
    with run.phase("tokenize"):
        entity_format = EntityFormat.of(args, [row for rows in examples.values() for row in rows])
        special_tokens = entity_format.special_tokens()
        scratch = (
            args.model_name_or_path == "scratch"
        )  # its vocabulary is made of these texts, and must hold the markers
        texts = [marked_text(row, entity_format) for row in examples["train"]] if scratch else []
        tokenizer = load_tokenizer(args.model_name_or_path, texts, special_tokens, args.trust_remote_code)
        marked = {name: mark_and_tokenize(rows, entity_format, tokenizer) for name, rows in examples.items()}
        max_length, is_long = find_max_length(marked["train"], tokenizer, args.max_length)
        for rows in marked.values():
            check_room(rows, tokenizer, max_length)
        if args.long_examples == "drop":
            splits = drop_rows(splits, is_long, labels)
        what = {"drop": "not trained on", "window": "cut to the text around both entities"}[args.long_examples]
        notes.append(f"max_length {max_length}: {is_long.sum()} of {len(is_long)} training rows are longer, {what}")
        print_once(notes[-1])

        def make_model():
            options = {name: getattr(args, name) for name in MODEL_FIELDS}
            options["num_ner_types"] = len(entity_format.ner_types) if entity_format.ner_as == "embedding" else 0
            model = load_relation_model(
                args.model_name_or_path, label_names, tokenizer, options, special_tokens, args.trust_remote_code
            )
            if args.freeze_word_embeddings:
                model.get_input_embeddings().weight.requires_grad_(False)
            # What predict.py must do to a row travels with the weights.
            model.config.preprocessing = entity_format.preprocessing(max_length)
            return model

        model = make_model()  # or damaged weights would be found too late
        run.start({f"{name}_file": len(rows) for name, rows in examples.items()})
        datasets = {
            name: tokenize(rows, entity_format, tokenizer, max_length, run.cache_file(name))
            for name, rows in marked.items()
        }
        run.write_features(measure(examples["train"], datasets["train"], len(label_names), model))
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
                make_model, train_rows, eval_rows, collate, args, training_args, run.fold_dir(fold), label_names
            )
        with run.phase("predict"):
            parts = {name: datasets[name] for name in ("eval", "test") if name in datasets}
            if eval_idx is not None:
                parts["held_out"] = eval_rows
            logits = {
                name: predict_logits(trainer.model, rows, collate, trainer.accelerator, label_names)
                for name, rows in parts.items()
            }
        save_fold(
            run,
            fold,
            trainer.accelerator.unwrap_model(trainer.model),
            logits,
            info,
            "text-classification",
            tokenizer,
            relation_metrics,
        )
        del trainer  # with its optimizer, before the next fold needs the memory
    training_args.seed = seed

    if args.fold is None:
        results = collect(run, [row.id for row in examples["train"]], len(splits), notes, relation_metrics)
        if "test" in results and run.state.is_main_process:
            path = run.dir / "submission.csv"
            submit(
                path,
                results["test"],
                sample_ids,
                args,
                lambda test: submission_columns(test, args.submission_format),
                id_column,
            )
        push_folds(run, training_args)
    run.finish()
    print_once(f"done: {run.dir}")


if __name__ == "__main__":
    run_main(main)
