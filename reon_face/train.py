"""Emotion of a face (RE:ON, 7 classes): train in one or several stages, predict, write the submission and a report.

accelerate launch {task}/train.py                              # images in {task}/data/, else the drawn sample
accelerate launch {task}/train.py --config {task}/configs/tune.yaml --train_file IMAGES --model_name_or_path WEIGHTS
accelerate launch {task}/train.py --config {task}/configs/final.yaml --fold 0        # one fold; --resume collects all
accelerate launch {task}/train.py --config {task}/configs/source_stages.yaml --train_file CROPS   # the source's stages
accelerate launch {task}/train.py --config {task}/configs/wished.yaml --train_file CROPS   # what its author wished for
"""

from dataclasses import asdict
from pathlib import Path  # PYTHON_ARGCOMPLETE_OK
from typing import TYPE_CHECKING

from common.console import run_main
from common.options import parse_train_args

from data import COMPETITION_FILES, SUBMISSION, TaskArguments, describe_groups, read_examples

if TYPE_CHECKING:
    from transformers import TrainingArguments

TASK_DIR = Path(__file__).parent


def main(args: TaskArguments, training_args: "TrainingArguments") -> None:
    """Read, split, decode, train each fold in its stages, average and write."""
    # torch and transformers are imported only now: --help answers at once
    from common.examples import read_files
    from common.folds import folds_to_train, make_splits
    from common.inference import predict_fold
    from common.report.run_page import report_run
    from common.results import collect, save_fold
    from common.run import Run

    from faces import FaceCrop
    from images import FaceCollator, check_files, to_dataset
    from model import load_image_model
    from stages import check_stages, note_stages, parse_stages, train_stages

    training_args.remove_unused_columns = False  # because the collator needs them, the model does not
    stages = parse_stages(args.stages, args.start, training_args)
    run = Run(args, training_args, TASK_DIR)

    # Read. Everything that can be wrong with the input is wrong here, before anything is written.
    with run.phase("read"):
        preprocessing = {"label_names": None, "subject_pattern": args.subject_pattern}

        def read(path):
            faces = read_examples(path, preprocessing)
            # because train_file is read first, and the others have its labels
            preprocessing["label_names"] = faces.label_names
            return faces

        examples = read_files(args, read)
        label_names = preprocessing["label_names"]
        face_crop = examples["train"].face_crop or asdict(FaceCrop())
        check_files(examples, args)
        run.note(describe_groups(examples["train"]))
        submission = SUBMISSION.expect(args, examples.get("test"), label_names)

    # Split. Images of one person, and identical ones, stay together; without folds and an eval_file, a tenth is held
    # back.
    splits = make_splits(examples, label_names, args)

    # Decode, when a batch wants them. Every start and every part is tried before anything is written.
    def make_model(start, fold):
        options = {key: getattr(args, key) for key in ("image_size", "drop_rate", "drop_path_rate", "test_time_flip")}
        # what predict.py must do to an image travels with the weights
        return load_image_model(args.model_name_or_path, label_names, face_crop, start=start, fold=fold, **options)

    config = check_stages(run, stages, splits, examples["train"], make_model)
    collate = FaceCollator(config)
    FaceCollator(config, args)  # because timm may not know auto_augment
    run.start(examples)
    datasets = {name: to_dataset(faces) for name, faces in examples.items()}

    # Train each fold, predict what it has not seen, keep the model and its logits.
    for fold in folds_to_train(run, splits, datasets):
        groups = examples["train"].groups[fold.train_idx]
        trainer, info = train_stages(fold, stages, make_model, groups, collate)
        logits = predict_fold(fold, trainer, training_args.per_device_eval_batch_size)
        save_fold(fold, trainer.model, logits, info, "image-classification")
        del trainer  # with its optimizer, because the next fold needs the memory

    # Average and write.
    if args.fold is None:
        note_stages(run)
        results = collect(run, examples["train"])
        submission.write(run.dir / "submission.csv", results.get("test"))
        report_run(run, results)
    run.finish()


if __name__ == "__main__":
    run_main(lambda: main(*parse_train_args(TaskArguments, TASK_DIR, COMPETITION_FILES, __doc__)))
