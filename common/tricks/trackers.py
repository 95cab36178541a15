"""--report_to of the Trainer: each fold is a run of its own in the tracker, and its files outlive the checkpoints.

TensorBoard's go to <run>/tensorboard/fold<k>; the Trainer would put them among the fold's checkpoints, which are
deleted with its last epoch.
"""

from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.integrations import TensorBoardCallback

FOLDER = "tensorboard"  # in the run folder


def keep_logs(trainer: Any) -> None:
    """Name the run of a fold's tracker, and where its files go. trainer: its args' output_dir is
    <run>/fold<k>/checkpoints, and its callbacks are those of report_to. TENSORBOARD_LOGGING_DIR and run_name are begun
    with, where they are given."""
    fold = Path(trainer.args.output_dir).parent
    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, TensorBoardCallback):
            callback.logging_dir = str(Path(callback.logging_dir or fold.parent / FOLDER) / fold.name)
    trainer.args.run_name = f"{trainer.args.run_name or fold.parent.name}/{fold.name}"
    if "wandb" in trainer.args.report_to:
        import wandb

        if wandb.run is None:
            trainer.add_callback(FinishRun())


class FinishRun(TrainerCallback):
    """Ends the W&B run that the Trainer has begun; it would go on with it in the next fold."""

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        import wandb

        wandb.finish()
