"""Predict clips with the models of one or several runs: the logits of all their folds are averaged by id.

accelerate launch hand_signal/predict.py --run_dir runs/hand_signal/final --test_file hand_signal/data/test
accelerate launch hand_signal/predict.py --run_dir runs/hand_signal/final runs/hand_signal/tune --weights 2 1 \
    --test_file CLIPS
# more views
accelerate launch hand_signal/predict.py --run_dir runs/hand_signal/final --test_file CLIPS --num_clips 10 --num_crops 3
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

from common.console import InputError, print_once, run_main
from common.options.args import parse_predict_args
from common.options.checks import check_number
from common.options.fields import PredictArguments

from data import SUBMISSION_CHECK, read_examples, submission_columns, submission_format


@dataclass
class TaskPredictArguments(PredictArguments):
    """Fields of predict.py beside the common ones."""

    per_device_eval_batch_size: int = field(
        default=8, metadata={"help": "views per batch and device; a video has num_clips * num_crops"}
    )
    dataloader_num_workers: int = field(default=0, metadata={"help": "processes that decode"})
    num_clips: int | None = field(
        default=None, metadata={"help": "temporal clips of a video to average; default: as the run was trained"}
    )
    num_crops: int | None = field(
        default=None, metadata={"help": "crops of a frame to average, 1 or 3; default: as the run was trained"}
    )
    cache_dir: str | None = field(
        default=None, metadata={"help": "keep decoded and resized frames here, memory-mapped"}
    )
    skip_broken: bool = field(
        default=False, metadata={"help": "give clips that cannot be decoded equal probabilities, and count them"}
    )
    calibrate: bool = field(
        default=True, metadata={"help": "divide a run's logits by the temperature of its calibration.json"}
    )


def main() -> None:
    args = parse_predict_args(TaskPredictArguments, __doc__)

    # torch and transformers are imported only now: --help answers at once
    from accelerate.utils import broadcast_object_list

    from common.examples import check_examples
    from common.files import read_json
    from common.inference import start_accelerator
    from common.logits import average
    from common.results import write_predictions
    from common.run import finished_folds, read_config
    from common.submission import find_sample_ids, submit

    from calibration import read_temperature, scale
    from clips import ClipDataset, Preprocessing, check_upscale, find_broken, predict_clips, with_broken
    from model import load_fold
    from officers import draw_sample

    for key in ("num_clips", "per_device_eval_batch_size"):
        check_number(key, getattr(args, key), 1)
    check_number("dataloader_num_workers", args.dataloader_num_workers, 0)
    if args.num_crops not in (None, 1, 3):
        raise InputError(f"num_crops: {args.num_crops} is not 1 or 3")
    temperatures = [read_temperature(run_dir) if args.calibrate else 1.0 for run_dir in args.run_dir]
    runs = [(finished_folds(run_dir), read_config(run_dir)) for run_dir in args.run_dir]
    accelerator = start_accelerator(runs[0][1])
    parts = []
    weights = []
    sample_ids = None
    # the labels of the first model; load_fold wants the same of all others
    label_names = list(read_json(runs[0][0][0] / "config.json").get("id2label", {}).values())
    with accelerator.main_process_first():
        draw_sample(args.test_file)
    examples = read_examples(args.test_file, label_names)[0][: args.max_predict_samples]
    check_examples(examples, args.test_file)
    ids = [row.id for row in examples]
    id_column, columns = submission_format(ids[0], label_names)
    sample_ids = find_sample_ids(args, ids, columns, id_column)
    broken = broadcast_object_list([find_broken(examples, args.skip_broken)])[0]
    if broken:
        skipped = f"{len(broken)} of {len(ids)} clips cannot be decoded, their labels get equal probabilities"
        print_once(f"{args.test_file}: {skipped}: {', '.join(broken)}")
    readable = [row for row in examples if row.id not in broken]
    if not readable:
        raise InputError(f"{args.test_file}: none of the {len(ids)} clips can be decoded")

    views = {key: getattr(args, key) for key in ("num_clips", "num_crops") if getattr(args, key) is not None}
    for (folds, _), temperature, weight in zip(runs, temperatures, args.weights or [1.0] * len(runs), strict=True):
        for fold in folds:
            model = load_fold(fold, accelerator.device, label_names)
            preprocessing = replace(Preprocessing(**model.config.preprocessing), **views)
            check_upscale(preprocessing.upscale)
            dataset = ClipDataset(readable, preprocessing, args.cache_dir)
            logits = predict_clips(
                model, dataset, accelerator, label_names, args.per_device_eval_batch_size, args.dataloader_num_workers
            )
            parts.append(with_broken(scale(logits, temperature), ids))
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
