"""Predict images with the models of one or several runs: the logits of all their folds are averaged by id.

accelerate launch reon_face/predict.py --run_dir runs/reon_face/final --test_file reon_face/data/test
accelerate launch reon_face/predict.py --run_dir runs/reon_face/final runs/reon_face/tune --weights 2 1 \
    --test_file IMAGES
accelerate launch reon_face/predict.py --run_dir runs/reon_face/final --test_file CROPS     # with labels: metrics too
"""

from dataclasses import dataclass, field
from pathlib import Path

from common.console import run_main
from common.options.args import parse_predict_args
from common.options.checks import check_number
from common.options.fields import PredictArguments

from data import (
    SUBMISSION_CHECK,
    announce,
    check_images,
    read_examples,
    submission_columns,
    submission_format,
    warn_of_other_crops,
)


@dataclass
class TaskPredictArguments(PredictArguments):
    """Fields of predict.py beside the common ones."""

    per_device_eval_batch_size: int = field(default=64, metadata={"help": "images per batch and device"})


def main() -> None:
    args = parse_predict_args(TaskPredictArguments, __doc__)

    # torch and transformers are imported only now: --help answers at once
    from common.examples import check_examples
    from common.files import read_json
    from common.inference import predict_logits, start_accelerator
    from common.logits import average
    from common.results import write_predictions
    from common.run import finished_folds, read_config
    from common.submission import find_sample_ids, submit

    from drawn_faces import draw_sample
    from images import FaceCollator, to_dataset
    from model import load_fold

    check_number("per_device_eval_batch_size", args.per_device_eval_batch_size, 1)
    runs = [(finished_folds(run_dir), read_config(run_dir)) for run_dir in args.run_dir]
    accelerator = start_accelerator(runs[0][1])
    parts = []
    weights = []
    sample_ids = None
    # the labels of the first model; load_fold wants the same of all others
    config = read_json(runs[0][0][0] / "config.json")
    label_names = config.get("label_names", [])
    with accelerator.main_process_first():
        draw_sample(args.test_file)
    examples = read_examples(args.test_file, label_names, groups=False)[0][: args.max_predict_samples]
    check_examples(examples, args.test_file)
    check_images(examples)
    warn_of_other_crops(args.test_file, config.get("face_crop"))
    announce(args.test_file, examples, label_names)
    id_column, columns = submission_format(label_names)
    sample_ids = find_sample_ids(args, [row.id for row in examples], columns, id_column)
    rows = to_dataset(examples)

    for (folds, _), weight in zip(runs, args.weights or [1.0] * len(runs), strict=True):
        for fold in folds:
            model = load_fold(fold, accelerator.device, label_names)
            parts.append(
                predict_logits(
                    model, rows, FaceCollator(model.config), accelerator, label_names, args.per_device_eval_batch_size
                )
            )
            weights.append(weight / len(folds))
    logits = average(parts, weights)

    if accelerator.is_main_process:
        path = Path(args.submission_file)
        submit(path, logits, sample_ids, args, submission_columns, id_column, **SUBMISSION_CHECK)
        write_predictions(path, logits)
    accelerator.wait_for_everyone()
    accelerator.end_training()


if __name__ == "__main__":
    run_main(main)
