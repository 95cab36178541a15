"""Predict images with the models of one or several runs: the logits of all their folds are averaged by id.

accelerate launch {task}/predict.py --run_dir RUN --test_file {task}/data/test
accelerate launch {task}/predict.py --run_dir RUN OTHER_RUN --weights 2 1 --test_file IMAGES
accelerate launch {task}/predict.py --run_dir RUN --test_file CROPS                      # with labels: metrics too
"""

from dataclasses import dataclass, field
from pathlib import Path  # PYTHON_ARGCOMPLETE_OK
from typing import ClassVar

from common.console import run_main
from common.options import PredictArguments, parse_predict_args

from data import SUBMISSION, read_examples


@dataclass
class TaskPredictArguments(PredictArguments):
    """Fields of predict.py beside the common ones."""

    LIMITS: ClassVar[dict] = {"per_device_eval_batch_size": (1, None)}

    per_device_eval_batch_size: int = field(default=64, metadata={"help": "images per batch and device"})


def main(args: TaskPredictArguments) -> None:
    """Read; predict with each fold of each run; average and write."""
    from common.examples import cut_test_rows
    from common.inference import Ensemble

    from images import FaceCollator, check_images, to_dataset
    from model import label_names_of, load_fold, preprocessing_of

    ensemble = Ensemble(args)
    first = ensemble.runs[0][0]
    label_names = label_names_of(first)  # load_fold() wants the same of all others
    faces = cut_test_rows(args, read_examples(args.test_file, {"label_names": label_names, "subject_pattern": None}))
    check_images(faces, preprocessing_of(first).face_crop)
    submission = SUBMISSION.expect(args, faces, label_names)
    rows = to_dataset(faces)
    for folds in ensemble.runs:
        for fold in folds:
            model = load_fold(fold, ensemble.device, label_names)
            ensemble.predict(model, rows, FaceCollator(model.config), args.per_device_eval_batch_size)
    ensemble.write(submission)


if __name__ == "__main__":
    run_main(lambda: main(parse_predict_args(TaskPredictArguments, Path(__file__).parent, __doc__)))
