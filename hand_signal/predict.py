"""Predict clips with the models of one or several runs: the logits of all their folds are averaged by id.

accelerate launch {task}/predict.py --run_dir RUN --test_file {task}/data/test
accelerate launch {task}/predict.py --run_dir RUN OTHER_RUN --weights 2 1 --test_file CLIPS
accelerate launch {task}/predict.py --run_dir RUN --test_file CLIPS --num_clips 10 --num_crops 3       # more views
"""

from dataclasses import replace
from pathlib import Path  # PYTHON_ARGCOMPLETE_OK

from common.console import InputError, print_once, run_main
from common.options import parse_predict_args

from data import TaskPredictArguments, read_examples, submission_format, wish_of_folds


def main(args: TaskPredictArguments) -> None:
    """Read and look at the clips; for each fold of each run: predict; then average and write."""
    from accelerate.utils import broadcast_object_list

    from common.examples import cut_test_rows
    from common.files import read_json
    from common.inference import Ensemble
    from common.targets import labels_of_config, target_of

    from calibration import read_temperature, scale
    from clips import predict_clips, read_preprocessing, with_broken
    from decode import find_broken
    from model import load_fold
    from upscaling import check_upscale

    temperatures = [read_temperature(run_dir) if args.calibrate else 1.0 for run_dir in args.run_dir]
    ensemble = Ensemble(args)
    # the labels of the first model; load_fold() wants the same of all others
    configs = [read_json(folds[0] / "config.json") for folds in ensemble.runs]
    label_names = target_of(configs[0].get("id2label", {}).values(), **configs[0].get("target", {}))
    layout = {"label_names": label_names, "group_by_number": 1, "poses": wish_of_folds(args, configs)}
    examples = cut_test_rows(args, read_examples(args.test_file, layout))
    submission = submission_format(examples).expect(args, examples, label_names)
    ids = [row.id for row in examples]
    broken = broadcast_object_list([find_broken(examples, args.skip_broken)])[0]
    if broken:
        skipped = f"{len(broken)} of {len(ids)} clips cannot be decoded, their labels get equal probabilities"
        print_once(f"{args.test_file}: {skipped}: {', '.join(broken)}")
    readable = [row for row in examples if row.id not in broken]
    if not readable:
        raise InputError(f"{args.test_file}: none of the {len(ids)} clips can be decoded")

    views = {key: getattr(args, key) for key in ("num_clips", "num_crops") if getattr(args, key) is not None}
    batches = args.per_device_eval_batch_size, args.dataloader_num_workers
    for folds, temperature in zip(ensemble.runs, temperatures, strict=True):
        for fold in folds:
            model = load_fold(fold, ensemble.device, label_names)
            preprocessing = replace(read_preprocessing(model.config.preprocessing), **views)
            check_upscale(preprocessing.upscale)
            dataset = preprocessing.dataset(readable, args.cache_dir)
            target = labels_of_config(model.config)
            logits = predict_clips(model, dataset, ensemble.accelerator, target, *batches)
            ensemble.add(with_broken(scale(logits, temperature), ids))
    ensemble.write(submission)


if __name__ == "__main__":
    run_main(lambda: main(parse_predict_args(TaskPredictArguments, Path(__file__).parent, __doc__)))
