"""Hand signals of a traffic officer in video (Dacon, 6 classes): a plain Accelerate loop from clips to the submission
and a report.

accelerate launch hand_signal/train.py  # files in hand_signal/data/, else the drawn sample
accelerate launch hand_signal/train.py --config hand_signal/configs/tune.yaml --train_file CLIPS --eval_file MORE_CLIPS
accelerate launch hand_signal/train.py --config hand_signal/configs/final.yaml \
    --pretrained_weights SLOWFAST_8x8_R101.pyth --bf16
# one fold; then --resume collects all
accelerate launch hand_signal/train.py --config hand_signal/configs/final.yaml --fold 0
"""

import dataclasses
import math
import shutil
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from common.console import DIVERGED, InputError, print_once, run_main
from common.options.args import TRAINING_DEFAULTS, parse_train_args
from common.options.checks import check_folder, check_number
from common.options.fields import WATCHED

from data import (
    COMPETITION_FILES,
    SUBMISSION_CHECK,
    TaskArguments,
    flip_map,
    read_examples,
    submission_columns,
    submission_format,
)

TASK_DIR = Path(__file__).parent
# The TrainingArguments that this loop reads; another one that is set is an error, not an option that does nothing.
READ = """
output_dir seed num_train_epochs learning_rate lr_scheduler_type lr_scheduler_kwargs warmup_steps weight_decay
adam_beta1 adam_beta2 adam_epsilon max_grad_norm label_smoothing_factor per_device_train_batch_size
per_device_eval_batch_size gradient_accumulation_steps bf16 fp16 dataloader_num_workers load_best_model_at_end
metric_for_best_model greater_is_better save_total_limit report_to disable_tqdm use_cpu push_to_hub
hub_model_id hub_private_repo hub_token
""".split()

WEIGHTS = "evaluated.safetensors"  # in checkpoints/: those that the fold will have, of the best or the last evaluation


def main() -> None:
    args, training_args = parse_train_args(TaskArguments, TASK_DIR, COMPETITION_FILES, __doc__, best_metric="loss")

    # torch and transformers are imported only now: --help answers at once
    from common.examples import check_examples, labels_of
    from common.files import write_json
    from common.folds import make_splits
    from common.results import collect, push_folds, save_fold
    from common.run import Run
    from common.submission import find_sample_ids, submit

    from calibration import calibrate, scale
    from clips import Augmentation, ClipDataset, Preprocessing, check_upscale, find_broken, predict_clips, with_broken
    from model import find_architecture, load_video_model
    from officers import draw_sample

    check_arguments(args, training_args)
    run = Run(args, training_args, TASK_DIR)
    notes = []

    # Read: everything that can be wrong with the input is wrong here, before anything is written.
    with run.phase("read"):
        check_upscale(args.upscale)
        with run.state.main_process_first():  # the others find the clips drawn
            for path in (args.train_file, args.eval_file, args.test_file):
                draw_sample(path)
        rows, label_names = read_examples(args.train_file, group_by_number=args.group_by_number)
        examples = {"train": rows[: args.max_train_samples]}
        for name, path, limit in [
            ("eval", args.eval_file, args.max_eval_samples),
            ("test", args.test_file, args.max_predict_samples),
        ]:
            if path:
                examples[name] = read_examples(path, label_names)[0][:limit]
        test_ids = [row.id for row in examples.get("test", [])]
        for name, rows in examples.items():
            broken = set(run.agree(lambda rows=rows: find_broken(rows, args.skip_broken)))
            examples[name] = [row for row in rows if row.id not in broken]
            if broken:
                notes.append(
                    f"{name}: {len(broken)} of {len(rows)} clips cannot be decoded and were skipped: "
                    f"{', '.join(sorted(broken))}"
                )
                print_once(notes[-1])
            check_examples(
                examples[name],
                getattr(args, f"{name}_file"),
                labelled=name != "test",
                least_classes=2 if name == "train" else 1,
            )
        sample_ids = None
        if "test" in examples:
            id_column, columns = submission_format(test_ids[0], label_names)
            sample_ids = find_sample_ids(args, test_ids, columns, id_column)

    # Split: clips of one group stay together. Without folds and without an eval_file, a tenth is held back.
    labels = labels_of(examples["train"])
    groups = np.array([row.group for row in examples["train"]])
    splits = make_splits(labels, groups, label_names, args, has_eval="eval" in examples)

    architecture = find_architecture(args.model_name_or_path)
    preprocessing = Preprocessing(
        num_frames=args.num_frames or architecture.num_frames,
        frame_stride=architecture.frame_stride if args.frame_stride is None else args.frame_stride,
        crop_size=args.crop_size or architecture.crop_size,
        person_box=args.person_box,
        upscale=args.upscale if args.upscale in ("none", "bicubic") else str(Path(args.upscale).resolve()),
        num_clips=args.num_clips,
        num_crops=args.num_crops,
        **architecture.normalization,
    )
    one_view = dataclasses.replace(preprocessing, num_clips=1, num_crops=1)  # while a fold trains
    augmentation = Augmentation(args.min_crop_scale, args.color_jitter, flip_map(args.flip_pairs, label_names))

    def make_model():
        options = {
            key: getattr(args, key)
            for key in ("num_frames", "alpha", "beta", "temporal_head", "dropout", "pretrained_weights")
        }
        model = load_video_model(args.model_name_or_path, label_names, **options)
        model.config.preprocessing = dataclasses.asdict(
            preprocessing
        )  # what predict.py must do to a clip travels with the weights
        return model

    model = make_model()  # or damaged weights would be found too late
    check_last_batch(
        model, [len(train_idx) for train_idx, _ in splits], training_args.per_device_train_batch_size, preprocessing
    )
    del model
    run.start({f"{name}_file": len(rows) for name, rows in examples.items()})

    seed = training_args.seed
    for fold, (train_idx, eval_idx) in enumerate(splits):
        if run.is_done(fold) or args.fold not in (None, fold):
            continue
        train_rows = [examples["train"][i] for i in train_idx]
        eval_rows = examples["eval"] if eval_idx is None else [examples["train"][i] for i in eval_idx]
        training_args.seed = seed + fold
        with run.phase("train"):
            train_set = ClipDataset(train_rows, preprocessing, args.cache_dir, augmentation, training_args.seed)
            eval_set = ClipDataset(eval_rows, one_view, args.cache_dir)
            accelerator, model, info = train_fold(
                make_model, train_set, eval_set, args, training_args, run.fold_dir(fold), label_names
            )
        with run.phase("predict"):
            parts = {name: examples[name] for name in ("eval", "test") if name in examples}
            if eval_idx is not None:
                parts["held_out"] = eval_rows
            batch_size = training_args.per_device_eval_batch_size
            num_workers = training_args.dataloader_num_workers
            logits = {
                name: predict_clips(
                    model,
                    ClipDataset(rows, preprocessing, args.cache_dir),
                    accelerator,
                    label_names,
                    batch_size,
                    num_workers,
                )
                for name, rows in parts.items()
            }
            if "test" in logits:
                logits["test"] = with_broken(logits["test"], test_ids)
        save_fold(run, fold, model, logits, info, "video-classification")
        del model
        accelerator.free_memory()  # it holds model and optimizer, too, and the next fold needs the memory
    training_args.seed = seed

    if args.fold is None:
        results = collect(run, [row.id for row in examples["train"]], len(splits), notes)
        calibration = {"temperature": 1.0}
        if args.calibrate:
            calibration = calibrate([run.load_fold(fold)[0]["held_out"] for fold in range(args.num_folds)])
            print_once(
                "calibration:",
                ", ".join(
                    f"{key} {calibration[key]:.4f}" for key in ("temperature", "log_loss", "log_loss_cross_fitted")
                ),
            )
            if run.state.is_main_process:
                write_json(run.dir / "calibration.json", calibration)
        if "test" in results and run.state.is_main_process:
            path = run.dir / "submission.csv"
            test = scale(results["test"], calibration["temperature"])
            submit(path, test, sample_ids, args, submission_columns, id_column, **SUBMISSION_CHECK)
        push_folds(run, training_args)
    run.finish()
    print_once(f"done: {run.dir}")


def train_fold(make_model, train_set, eval_set, args, training_args, fold_dir, label_names):
    """Train one fold, or go on from its last complete checkpoint in fold_dir/checkpoints: (accelerator, unwrapped
    model, what to remember).

    After each epoch the model, averaged where ema_decay is on, is measured on eval_set and a checkpoint is written; the
    random numbers of an epoch depend on seed and epoch alone, so that a resumed run has the bits of one that was not
    stopped. With load_best_model_at_end the weights of the best epoch are returned. Raises Stopped after the checkpoint
    of stop_after_epoch, InputError where training diverged.
    """
    import torch
    import torch.nn.functional as F
    from accelerate import Accelerator, DataLoaderConfiguration
    from accelerate.utils import set_seed
    from safetensors.torch import load_file, save_file
    from tqdm.auto import tqdm
    from transformers import TrainerState, get_scheduler

    from common.files import write_json
    from common.metrics import compute_metrics
    from common.training import check_stop, last_complete_checkpoint
    from common.tricks.ema import Ema

    from clips import checked, make_loader, mixup, predict_clips

    a = training_args
    folder = Path(fold_dir) / "checkpoints"
    accelerator = Accelerator(
        cpu=a.use_cpu,
        mixed_precision="bf16" if a.bf16 else "fp16" if a.fp16 else "no",
        gradient_accumulation_steps=a.gradient_accumulation_steps,
        dataloader_config=DataLoaderConfiguration(use_seedable_sampler=True, data_seed=a.seed),
        log_with=a.report_to or None,
        project_dir=fold_dir,
    )
    set_seed(a.seed)
    model = make_model()
    decayed = [p for p in model.parameters() if p.ndim > 1]  # biases and norms are not decayed, as in the paper's code
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": a.weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(
        groups, lr=a.learning_rate, betas=(a.adam_beta1, a.adam_beta2), eps=a.adam_epsilon, fused=True
    )
    loader = make_loader(train_set, a.per_device_train_batch_size, a.dataloader_num_workers, shuffle=True)
    wrapped, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    steps_per_epoch = math.ceil(len(loader) / a.gradient_accumulation_steps)
    batch_rows = [a.per_device_train_batch_size] * len(
        loader
    )  # of this process; Accelerate fills up the last ones of several
    if accelerator.num_processes == 1:
        batch_rows[-1] -= sum(batch_rows) - len(train_set)
    steps = np.arange(len(loader)) // a.gradient_accumulation_steps
    window_rows = np.bincount(steps, batch_rows)[steps].tolist()  # for each batch, the rows of its optimizer step
    num_epochs = int(a.num_train_epochs)
    num_steps = steps_per_epoch * num_epochs
    options = dict(a.lr_scheduler_kwargs or {})
    # not prepared: Accelerate would step it once for every process
    scheduler = get_scheduler(
        a.lr_scheduler_type, optimizer, a.get_warmup_steps(num_steps), num_steps, scheduler_specific_kwargs=options
    )
    ema = Ema(model, args.ema_decay) if args.ema_decay > 0 else None
    accelerator.register_for_checkpointing(scheduler, *([] if ema is None else [ema]))

    state = TrainerState(epoch=0.0)
    if checkpoint := last_complete_checkpoint(folder, a):
        state = TrainerState.load_from_json(checkpoint / "trainer_state.json")
        accelerator.load_state(checkpoint)
    check_stop(state, args, a)
    if a.report_to:
        accelerator.init_trackers(Path(fold_dir).parent.name)
    first_epoch = round(state.epoch)
    began = time.perf_counter()
    hide_progress = a.disable_tqdm or not accelerator.is_main_process
    patience = (args.early_stopping_patience or num_epochs) * steps_per_epoch

    for epoch in range(first_epoch, num_epochs):
        if state.best_global_step is not None and state.global_step - state.best_global_step >= patience:
            break
        set_seed(
            (1009 * a.seed + epoch) % 2**31, device_specific=True
        )  # dropout and mixup; the clips have seeds of their own
        loader.set_epoch(epoch)
        train_set.set_epoch(epoch)
        model.train()
        total = torch.zeros((), device=accelerator.device)
        progress = tqdm(loader, desc=f"epoch {epoch + 1}/{num_epochs}", leave=False, disable=hide_progress)
        for rows, batch in zip(window_rows, progress, strict=True):
            pixel_values = checked(batch)["pixel_values"]
            targets = batch["labels"]
            if args.mixup_alpha > 0:
                pixel_values, targets = mixup(pixel_values, targets, args.mixup_alpha, len(label_names))
            with accelerator.accumulate(wrapped):
                logits = wrapped(pixel_values=pixel_values).logits
                loss = F.cross_entropy(
                    logits.float(), targets, label_smoothing=a.label_smoothing_factor, reduction="sum"
                )
                # backward() divides by gradient_accumulation_steps: a step's gradient is the mean over its rows, also
                # of a short last one
                accelerator.backward(loss * a.gradient_accumulation_steps / rows)
                if accelerator.sync_gradients and a.max_grad_norm > 0:
                    accelerator.clip_grad_norm_(wrapped.parameters(), a.max_grad_norm)
                optimizer.step()
                optimizer.zero_grad()
                if accelerator.sync_gradients:  # an optimizer step, not a micro-batch
                    scheduler.step()
                    state.global_step += 1
                    if ema is not None:
                        ema.update(model)
            total += loss.detach()
        state.epoch = epoch + 1.0
        train_loss = accelerator.reduce(total / sum(batch_rows), "mean").item()
        if not math.isfinite(train_loss):
            raise InputError(f"epoch {epoch + 1}: the loss is {train_loss}: {DIVERGED}, expected a lower learning_rate")

        with nullcontext() if ema is None else ema.applied(model):
            evaluated = predict_clips(
                model, eval_set, accelerator, label_names, a.per_device_eval_batch_size, a.dataloader_num_workers
            )
            metrics = compute_metrics(evaluated.logits, evaluated.labels, label_names)
            entry = {
                "epoch": state.epoch,
                "step": state.global_step,
                "loss": train_loss,
                "learning_rate": scheduler.get_last_lr()[0],
            }
            entry |= {"eval_loss": metrics["log_loss"], **{f"eval_{key}": metrics[key] for key in WATCHED}}
            watched = entry["eval_" + (a.metric_for_best_model or "loss").removeprefix("eval_")]
            better = state.best_metric is None or (
                watched > state.best_metric if a.greater_is_better else watched < state.best_metric
            )
            if better:
                state.best_metric = watched
                state.best_global_step = state.global_step
            if (better or not a.load_best_model_at_end) and accelerator.is_main_process:
                folder.mkdir(parents=True, exist_ok=True)
                save_file({key: value.contiguous() for key, value in model.state_dict().items()}, folder / WEIGHTS)
        state.log_history.append(entry)
        accelerator.log(entry, step=state.global_step)
        print_once(", ".join(f"{key} {entry[key]:.4g}" for key in ("epoch", "loss", "eval_loss", "eval_accuracy")))

        checkpoint = folder / f"checkpoint-{state.global_step}"
        accelerator.save_state(checkpoint)
        if accelerator.is_main_process:
            write_json(
                checkpoint / "trainer_state.json", dataclasses.asdict(state)
            )  # last: a checkpoint without it is not complete
            complete = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
            for old in complete[: -a.save_total_limit]:
                shutil.rmtree(old)
        accelerator.wait_for_everyone()
        check_stop(state, args, a)

    model.load_state_dict(load_file(folder / WEIGHTS))
    seconds = time.perf_counter() - began
    if a.report_to:
        accelerator.end_training()
    return (
        accelerator,
        model,
        {
            "log_history": state.log_history,
            "best_metric": state.best_metric,
            "train_samples_per_second": (round(state.epoch) - first_epoch) * len(train_set) / seconds,
            "train_class_counts": np.bincount(
                [row.label for row in train_set.examples], minlength=len(label_names)
            ).tolist(),
        },
    )


def check_last_batch(model, num_rows, batch_size, preprocessing) -> None:
    """Raise InputError where batch norm would be left with one value: a last batch of one clip, and a model that makes
    it 1 x 1 x 1."""
    import torch

    if all(rows % batch_size != 1 for rows in num_rows) and batch_size > 1:
        return
    p = preprocessing
    try:
        model.train()(pixel_values=torch.zeros(1, 3, p.num_frames, p.crop_size, p.crop_size))
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        reason = f"batches of one clip of {p.num_frames} frames of {p.crop_size} pixels leave batch norm a single value"
        raise InputError(
            f"per_device_train_batch_size: {batch_size} for {num_rows[0]} clips: {reason}; give another size"
        ) from error


def check_arguments(args, training_args) -> None:
    """What the fields' types cannot say. Raises InputError."""
    from transformers import TrainingArguments

    untouched = TrainingArguments(**TRAINING_DEFAULTS, use_cpu=training_args.use_cpu)
    for item in dataclasses.fields(training_args):
        if item.init and item.name not in READ and getattr(training_args, item.name) != getattr(untouched, item.name):
            raise InputError(
                f"{item.name}: is not read by this loop, which evaluates and saves after each epoch; leave it at its "
                "default"
            )
    if training_args.lr_scheduler_type in ("reduce_lr_on_plateau", "greedy"):
        raise InputError(
            f"lr_scheduler_type: {training_args.lr_scheduler_type.value} follows a metric, this loop steps a schedule "
            "by number"
        )
    if training_args.num_train_epochs != int(training_args.num_train_epochs):
        raise InputError(f"num_train_epochs: {training_args.num_train_epochs} is not a whole number")
    for key, least in (
        ("num_frames", 1),
        ("crop_size", 32),
        ("alpha", 1),
        ("beta", 1),
        ("num_clips", 1),
        ("group_by_number", 1),
    ):
        check_number(key, getattr(args, key), least)
    for key, most in (("dropout", 0.999), ("min_crop_scale", 1), ("color_jitter", 1)):
        check_number(key, getattr(args, key), 0, most)
    if args.min_crop_scale == 0:
        raise InputError("min_crop_scale: 0 is not above 0")
    if args.num_crops not in (1, 3):
        raise InputError(f"num_crops: {args.num_crops} is not 1 or 3")
    if args.calibrate and args.num_folds < 2:
        raise InputError("calibrate: needs out-of-fold rows, so a num_folds of 2 or more")
    if args.cache_dir is not None:
        check_folder(Path(args.cache_dir), "cache_dir")


if __name__ == "__main__":
    run_main(main)
