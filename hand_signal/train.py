"""Hand signals of a traffic officer in video (Dacon, 6 classes): a plain Accelerate loop from clips to the submission.

accelerate launch {task}/train.py                     # the competition's files in {task}/data/, else the drawn sample
accelerate launch {task}/train.py --config {task}/configs/tune.yaml --train_file CLIPS --eval_file MORE_CLIPS
accelerate launch {task}/train.py --config {task}/configs/final.yaml --bf16 --pretrained_weights SLOWFAST_8x8_R101.pyth
accelerate launch {task}/train.py --config {task}/configs/pose_final.yaml --train_file CLIPS --pose_file POSES.json
accelerate launch {task}/train.py --config {task}/configs/final.yaml --fold 0       # one fold; --resume collects all
"""

import dataclasses
import math
import time
from pathlib import Path  # PYTHON_ARGCOMPLETE_OK
from typing import TYPE_CHECKING

from common.console import DIVERGED, InputError, run_main
from common.options import parse_train_args

from data import COMPETITION_FILES, TaskArguments, flip_map, pose_wish, read_examples, submission_format

if TYPE_CHECKING:
    from transformers import TrainingArguments

TASK_DIR = Path(__file__).parent


def main(args: TaskArguments, training_args: "TrainingArguments") -> None:
    """Read, split, decode, train each fold, average and write."""
    # torch and transformers are imported only now: --help answers at once
    from common.examples import check_files, read_files
    from common.folds import folds_to_train, make_splits
    from common.guards.seen import note_seen
    from common.report.run_page import report_run
    from common.results import collect, save_fold
    from common.run import Run
    from common.targets import labels_of_config

    from calibration import calibrate_run, scale
    from clips import make_preprocessing, predict_clips, with_broken
    from model import check_last_batch, choose_model, find_architecture, model_maker
    from upscaling import check_upscale

    run = Run(args, training_args, TASK_DIR)

    # Read. Everything that can be wrong with the input is wrong here, before anything is written.
    with run.phase("read"):
        check_upscale(args.upscale)
        layout = {"label_names": None, "group_by_number": args.group_by_number, "poses": pose_wish(args)}

        def read(path):
            rows = read_examples(path, layout)
            layout["label_names"] = rows.label_names  # of the training folder, which read_files() reads first
            return rows

        examples = read_files(args, read)
        label_names = layout["label_names"]
        test_ids = [row.id for row in examples.get("test", [])]
        submission = submission_format(examples.get("test")).expect(args, examples.get("test"), label_names)
        examples = {name: readable(run, name, rows) for name, rows in examples.items()}
        check_files(args, examples)

    # Split. Clips of one group stay together; without folds and without an eval_file, a tenth is held back.
    splits = make_splits(examples, label_names, args)

    # Decode: what the model will see of a clip, each time that it is read.
    model_name = choose_model(args.model_name_or_path, examples["train"])
    preprocessing = make_preprocessing(args, find_architecture(model_name), examples["train"])
    one_view = dataclasses.replace(preprocessing, num_clips=1, num_crops=1)  # while a fold trains
    augmentation = preprocessing.augmentation(args, label_names, flip_map(args.flip_pairs, label_names))
    make_model = model_maker(args, model_name, label_names, preprocessing)

    # before anything is written, because damaged weights are bad input, too
    num_rows = [len(train_idx) for train_idx, _ in splits]
    shared = training_args.gradient_accumulation_steps, training_args.world_size
    check_last_batch(make_model(), num_rows, training_args.per_device_train_batch_size, *shared)
    note_seen(run, args.pretrained_weights, splits, examples["train"])
    run.start(examples)

    # Train each fold, predict what it has not seen, keep the model and its logits.
    for fold in folds_to_train(run, splits, examples):
        with run.phase("train"):
            seed = fold.training_args.seed
            train_set = preprocessing.dataset(fold.train_rows, args.cache_dir, augmentation, seed)
            eval_set = one_view.dataset(fold.eval_rows, args.cache_dir)
            accelerator, model, info = train_fold(fold, make_model, train_set, eval_set, label_names)
        with run.phase("predict"):
            batches = training_args.per_device_eval_batch_size, training_args.dataloader_num_workers
            target = labels_of_config(model.config)
            logits = {}
            for name, rows in fold.to_predict.items():
                dataset = preprocessing.dataset(rows, args.cache_dir)
                logits[name] = predict_clips(model, dataset, accelerator, target, *batches)
            if "test" in logits:
                logits["test"] = with_broken(logits["test"], test_ids)
        save_fold(fold, model, logits, info, "video-classification")
        del model
        accelerator.free_memory()  # it holds model and optimizer, too, and the next fold needs the memory

    # Average and write.
    if args.fold is None:
        results = collect(run, examples["train"])
        temperature = calibrate_run(run) if args.calibrate else 1.0
        if "test" in results:
            submission.write(run.dir / "submission.csv", scale(results["test"], temperature))
        report_run(run, results)
        if model_name.startswith("pose_"):
            from pose_report import report_poses

            report_poses(run, examples, results, preprocessing)
    run.finish()


def readable(run, name, rows):
    """The rows whose clips can be decoded; the others are noted. Raises InputError with the first where none may be
    skipped."""
    from decode import find_broken

    broken = set(run.broadcast(lambda: find_broken(rows, run.args.skip_broken)))
    if broken:
        counts = f"{len(broken)} of {len(rows)} clips cannot be decoded and were skipped"
        run.note(f"{name}: {counts}: {', '.join(sorted(broken))}")
    return [row for row in rows if row.id not in broken]


def train_fold(fold, make_model, train_set, eval_set, label_names):
    """Train one fold, or go on from its last complete checkpoint: (accelerator, unwrapped model, what to remember).

    After each epoch the model, averaged where ema_decay is on, is measured on eval_set and a checkpoint is written; the
    random numbers of an epoch depend on seed and epoch alone, so that a resumed run has the bits of one that was not
    stopped. With load_best_model_at_end the weights of the best epoch are returned. Raises Stopped after the checkpoint
    of stop_after_epoch, InputError where training diverged.
    """
    from common.examples import labels_of
    from common.training import check_stop

    from loop import Loop

    args = fold.training_args
    loop = Loop(fold, make_model, train_set)
    state = loop.state
    check_stop(state, fold.args, args)
    if args.report_to:
        loop.accelerator.init_trackers(fold.run.dir.name)
    first_epoch = round(state.epoch)
    num_epochs = int(args.num_train_epochs)
    patience = (fold.args.early_stopping_patience or num_epochs) * loop.steps_per_epoch
    began = time.perf_counter()
    for epoch in range(first_epoch, num_epochs):
        if state.best_global_step is not None and state.global_step - state.best_global_step >= patience:
            break
        train_loss = train_epoch(loop, train_set, epoch, fold.args.mixup_alpha, len(label_names))
        if not math.isfinite(train_loss):
            raise InputError(f"epoch {epoch + 1}: the loss is {train_loss}: {DIVERGED}, expected a lower learning_rate")
        loop.evaluate(eval_set, label_names, train_loss)
        loop.save()
        check_stop(state, fold.args, args)
    loop.finish()
    seconds = time.perf_counter() - began
    info = {
        "log_history": state.log_history,
        "best_metric": state.best_metric,
        "train_samples_per_second": (round(state.epoch) - first_epoch) * len(train_set) / seconds,
        "train_class_counts": loop.target.counts(labels_of(fold.train_rows)),
    }
    return loop.accelerator, loop.model, info


def train_epoch(loop, train_set, epoch, mixup_alpha, num_labels):
    """One pass over the training clips: the mean loss of its rows."""
    import torch
    from accelerate.utils import set_seed
    from tqdm.auto import tqdm

    from clips import checked, mixup

    args = loop.args
    accelerator = loop.accelerator
    # dropout and mixup; the clips have seeds of their own
    set_seed((1009 * args.seed + epoch) % 2**31, device_specific=True)
    loop.batches.epoch = epoch
    train_set.set_epoch(epoch)
    loop.model.train()
    total = torch.zeros((), device=accelerator.device)
    loop.meter.go_on(epoch)
    hidden = args.disable_tqdm or loop.quiet or not accelerator.is_main_process
    name = f"epoch {epoch + 1}/{args.num_train_epochs:g}"
    progress = tqdm(loop.loader, desc=name, leave=False, disable=hidden or None)  # None: where stderr is no terminal
    for rows, batch in zip(loop.step_rows, progress, strict=True):
        pixel_values = checked(batch)["pixel_values"]  # (B, 3, T, S, S)
        targets = batch["labels"]
        if mixup_alpha > 0 and targets[0] >= 0:  # else no clip, but one that fills a place
            pixel_values, targets = mixup(pixel_values, targets, mixup_alpha, num_labels)
        with accelerator.accumulate(loop.wrapped):
            logits = loop.logits(pixel_values, batch["labels"])
            loss = loop.loss(logits, targets, batch)
            # a step's gradient is the mean over its rows on all processes, also of a short last one
            accelerator.backward(loss * loop.shares / rows)
            if accelerator.sync_gradients and args.max_grad_norm > 0:
                accelerator.clip_grad_norm_(loop.wrapped.parameters(), args.max_grad_norm)
            loop.optimizer.step()
            loop.optimizer.zero_grad()
            if accelerator.sync_gradients:  # an optimizer step, not a micro-batch
                loop.scheduler.step()
                loop.state.global_step += 1
                if loop.ema is not None:
                    loop.ema.update(loop.model)
        total += loss.detach()
    loop.meter.count(epoch + 1.0)
    loop.state.epoch = epoch + 1.0
    return accelerator.reduce(total / len(train_set), "sum").item()


if __name__ == "__main__":
    run_main(lambda: main(*parse_train_args(TaskArguments, TASK_DIR, COMPETITION_FILES, __doc__, best_metric="loss")))
