"""Emotion of a face (RE:ON, 7 classes): train in one or several stages, predict the test images, write the submission
and a report.

accelerate launch reon_face/train.py  # images in reon_face/data/, else the drawn sample
accelerate launch reon_face/train.py --config reon_face/configs/tune.yaml --train_file IMAGES \
    --model_name_or_path WEIGHTS
# one fold; then --resume collects all
accelerate launch reon_face/train.py --config reon_face/configs/final.yaml --fold 0
# the source's four stages
accelerate launch reon_face/train.py --config reon_face/configs/source_stages.yaml --train_file CROPS
# what its author wished for
accelerate launch reon_face/train.py --config reon_face/configs/wished.yaml --train_file CROPS
"""

from dataclasses import asdict
from pathlib import Path

import numpy as np

from common.console import InputError, print_once, run_main
from common.options.args import is_folder, parse_train_args
from common.options.checks import check_number

from data import (
    COMPETITION_FILES,
    SUBMISSION_CHECK,
    TaskArguments,
    announce,
    check_images,
    face_crop_of,
    read_examples,
    report_groups,
    submission_columns,
    submission_format,
    warn_of_other_crops,
)

TASK_DIR = Path(__file__).parent


def main() -> None:
    args, training_args = parse_train_args(TaskArguments, TASK_DIR, COMPETITION_FILES, __doc__)

    # torch and transformers are imported only now: --help answers at once
    from common.examples import check_examples, labels_of
    from common.folds import make_splits, resample
    from common.inference import predict_logits
    from common.results import collect, push_folds, save_fold
    from common.run import Run, finished_folds
    from common.submission import find_sample_ids, submit

    from drawn_faces import draw_sample
    from faces import FaceCrop
    from images import FaceCollator, to_dataset
    from model import load_image_model
    from stages import parse_stages, part_rows, seen_before, stage_notes, train_stages

    check_arguments(args, training_args)
    stages = parse_stages(args.stages, args.start, training_args)
    run = Run(args, training_args, TASK_DIR)
    notes = []

    # Read: everything that can be wrong with the input is wrong here, before anything is written.
    with run.phase("read"):
        with run.state.main_process_first():  # the others find the images drawn
            for path in (args.train_file, args.eval_file, args.test_file):
                draw_sample(path)
        rows, label_names = read_examples(args.train_file, subject_pattern=args.subject_pattern)
        examples = {"train": rows[: args.max_train_samples]}
        for name, path, limit in [
            ("eval", args.eval_file, args.max_eval_samples),
            ("test", args.test_file, args.max_predict_samples),
        ]:
            if path:
                examples[name] = read_examples(path, label_names, groups=False)[0][:limit]
        crop = face_crop_of(args.train_file)
        for name, rows in examples.items():
            check_examples(
                rows, getattr(args, f"{name}_file"), labelled=name != "test", least_classes=2 if name == "train" else 1
            )
            check_images(rows)
            warn_of_other_crops(getattr(args, f"{name}_file"), crop)
            announce(getattr(args, f"{name}_file"), rows, label_names)
        notes.append(report_groups(examples["train"]))
        print_once(notes[-1])
        sample_ids = None
        if "test" in examples:
            id_column, columns = submission_format(label_names)
            sample_ids = find_sample_ids(args, [row.id for row in examples["test"]], columns, id_column)

    # Split: images of one person, and identical images, stay together. Without folds and without an eval_file, a tenth
    # is held back.
    labels = labels_of(examples["train"])
    groups = np.array([row.group for row in examples["train"]])
    splits = make_splits(labels, groups, label_names, args, has_eval="eval" in examples)

    def make_model(start, fold=0):
        if start not in ("imagenet", "scratch") and not is_model(start):  # a run: fold k goes on from its fold k
            folds = {path.name: path for path in finished_folds(start)}
            if f"fold{fold}" not in folds:
                raise InputError(
                    f"start: {start} has no finished fold{fold}, expected as many folds as here ({args.num_folds})"
                )
            start = str(folds[f"fold{fold}"])
        options = {key: getattr(args, key) for key in ("image_size", "drop_rate", "drop_path_rate")}
        return load_image_model(
            args.model_name_or_path, label_names, crop or asdict(FaceCrop()), start=start, **options
        )

    for fold, (train_idx, eval_idx) in enumerate(
        splits
    ):  # or damaged weights and impossible parts would be found too late
        for stage in stages:
            part_rows(stage.part, labels[train_idx], groups[train_idx], args.fold_seed)
        for start in {stage.start for stage in stages} - {None}:
            if fold == 0 or start not in ("imagenet", "scratch"):  # which are the same for all folds
                model = make_model(start, fold)
            seen = 0 if eval_idx is None else seen_before(start, fold, [examples["train"][i].id for i in eval_idx])
            if seen:
                notes.append(
                    f"fold {fold}: {start} was trained on {seen} of its {len(eval_idx)} held-out images: their scores "
                    "are optimistic"
                )
                print_once(f"warning: {notes[-1]}")
    collate = FaceCollator(model.config)
    batch_size = training_args.per_device_eval_batch_size
    FaceCollator(model.config, args)
    run.start({f"{name}_file": len(rows) for name, rows in examples.items()})
    datasets = {name: to_dataset(rows) for name, rows in examples.items()}
    del model

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
            trainer, info = train_stages(
                stages,
                lambda start, fold=fold: make_model(start, fold),
                train_rows,
                groups[train_idx],
                eval_rows,
                collate,
                args,
                training_args.seed,
                run.fold_dir(fold),
                label_names,
            )
        with run.phase("predict"):
            parts = {name: datasets[name] for name in ("eval", "test") if name in datasets}
            if eval_idx is not None:
                parts["held_out"] = eval_rows
            logits = {
                name: predict_logits(trainer.model, rows, collate, trainer.accelerator, label_names, batch_size)
                for name, rows in parts.items()
            }
        save_fold(run, fold, trainer.accelerator.unwrap_model(trainer.model), logits, info, "image-classification")
        del trainer  # with its optimizer, before the next fold needs the memory
    training_args.seed = seed

    if args.fold is None:
        for fold in range(len(splits)):
            notes += stage_notes(fold, run.load_fold(fold)[1]["stages"])
        results = collect(run, [row.id for row in examples["train"]], len(splits), notes)
        if "test" in results and run.state.is_main_process:
            path = run.dir / "submission.csv"
            submit(path, results["test"], sample_ids, args, submission_columns, id_column, **SUBMISSION_CHECK)
        push_folds(run, training_args)
    run.finish()
    print_once(f"done: {run.dir}")


def is_model(folder: str) -> bool:
    return (Path(folder) / "config.json").exists()


def check_arguments(args, training_args) -> None:
    """What the fields' types cannot say. Raises InputError."""
    training_args.remove_unused_columns = False  # the collator needs them, the model does not
    check_number("image_size", args.image_size, 32, 2048)
    check_number("shuffle_rows", args.shuffle_rows, 1)
    for key in ("drop_rate", "drop_path_rate", "min_crop_scale", "horizontal_flip", "color_jitter", "random_erasing"):
        check_number(key, getattr(args, key), 0, 1)
    if args.min_crop_scale == 0:
        raise InputError("min_crop_scale: 0 is not above 0")
    if args.start not in ("imagenet", "scratch"):
        if not is_folder(args.start):
            raise InputError(f"start: {args.start!r} is neither imagenet, scratch nor a run's folder")
        args.start = str(Path(args.start).resolve())
    if args.stages and args.stop_after_epoch is not None:
        raise InputError("stop_after_epoch: counts the epochs of one stage; it cannot be given with stages")


if __name__ == "__main__":
    run_main(main)
