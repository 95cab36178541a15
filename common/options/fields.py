"""The options that several tasks share, in groups; a task declares one dataclass that inherits from those it needs.

What an option may be stands beside it: LIMITS of its group gives (least, most), most None for no bound, and check()
what depends on other options. A task adds a LIMITS and a check() of its own in the same way. GROUP: a title in --help.
"""

import math
import os
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from common.console import InputError
from common.guards.options import TEXTS, TRAINER
from common.guards.processes import are_several
from common.targets import Classes

DATA_FIELDS = ("train_file", "eval_file", "test_file", "sample_submission_file")
# What belongs to one start of a run and not to the run itself: not written to config.yaml.
START_FIELDS = ("config", "output_dir", "resume", "fold", "fold_workers", "stop_after_epoch", "quiet")
# What the evaluations of a fold measure, so what metric_for_best_model can name.
WATCHED = Classes.watched
MAX_SEED = 2**32 - 1  # NumPy's
MAX_THREADS = 1024
SAMPLE_HELP = "the competition's sample; the submission is checked against it"
QUIET_HELP = "print the results alone: no notes, no lines of epochs, no bar"
THREADS_HELP = "CPU threads per process; default: torch's, or cores / local processes where a launcher set 1"


@dataclass
class DataArguments:
    """Fields of every train.py. A task that reads more files names their fields in DATA_FIELDS, after these.

    OTHER_FILES: option -> name in data/, as COMPETITION_FILES, of the data that is read where those are not there.
    """

    GROUP: ClassVar[str] = "data, folds, metric"  # of --help
    DATA_FIELDS: ClassVar[tuple[str, ...]] = DATA_FIELDS
    OTHER_FILES: ClassVar[dict[str, str]] = {}
    LOOP: ClassVar[str] = TRAINER  # who reads the TrainingArguments
    LIMITS: ClassVar[dict] = {
        "num_folds": (1, None),
        "fold_seed": (0, MAX_SEED),
        "stop_after_epoch": (0, None),
        "max_train_samples": (1, None),
        "max_eval_samples": (1, None),
        "max_predict_samples": (1, None),
        "torch_num_threads": (1, MAX_THREADS),
    }

    config: str | None = field(
        default=None,
        metadata={"help": "YAML preset or a run's config.yaml; default: final with the competition's files, else demo"},
    )
    train_file: str | None = field(default=None, metadata={"help": "labelled rows to train on"})
    eval_file: str | None = field(default=None, metadata={"help": "labelled rows that no model trains on"})
    test_file: str | None = field(default=None, metadata={"help": "rows to predict for the submission"})
    sample_submission_file: str | None = field(default=None, metadata={"help": SAMPLE_HELP})
    num_folds: int = field(
        default=1,
        metadata={"help": "K-fold cross-validation; 1: train once, on all of train_file where there is an eval_file"},
    )
    fold: int | None = field(
        default=None,
        metadata={"help": "train only this fold (0-based), write only fold<k>/; collect later with --resume"},
    )
    fold_workers: str = field(
        default="auto",
        metadata={"help": "folds that are trained at the same time; auto: as many as GPUs or cores, where it pays"},
    )
    fold_seed: int = field(default=42, metadata={"help": "seed of the split into folds"})
    resume: bool = field(default=False, metadata={"help": "go on where the run in output_dir stopped"})
    stop_after_epoch: int | None = field(
        default=None,
        metadata={"help": "stop when this many epochs are trained, 0: before the first; --resume goes on"},
    )
    quiet: bool = field(default=False, metadata={"help": QUIET_HELP})
    max_train_samples: int | None = field(default=None, metadata={"help": "use only the first rows of train_file"})
    max_eval_samples: int | None = field(default=None, metadata={"help": "use only the first rows of eval_file"})
    max_predict_samples: int | None = field(default=None, metadata={"help": "predict only the first rows of test_file"})
    metric: str | None = field(
        default=None,
        metadata={
            "help": "what is to be good (f1, macro_f1, auc, rmse, ...): for the best checkpoint, early stopping, report"
        },
    )
    metric_bootstrap: int = field(
        default=0, metadata={"help": "samples of rows for the metric's standard error; 0: over the folds"}
    )
    torch_num_threads: int | None = field(default=None, metadata={"help": THREADS_HELP})

    def check(self, training_args: Any) -> None:
        """What types and LIMITS cannot say. Raises InputError. A group or a task calls super().check() first."""
        if self.fold is not None and not 0 <= self.fold < self.num_folds:
            raise InputError(
                f"fold: {self.fold} is not between 0 and {self.num_folds - 1} (num_folds {self.num_folds})"
            )
        check_fold_workers(self)
        if training_args.fsdp:
            from common.sharded.options import check_sharded

            check_sharded(self, training_args)
        if self.stop_after_epoch is None:
            return
        if self.num_folds > 1 and self.fold is None:
            raise InputError("stop_after_epoch: stops one fold, so with num_folds above 1 name it with --fold")
        if (strategy := training_args.save_strategy.value) != "epoch":
            raise InputError(f"stop_after_epoch: needs save_strategy epoch to go on later, it is {strategy}")


def check_fold_workers(args: DataArguments) -> None:
    """Raise InputError where --fold_workers is no number, or has nothing to share out."""
    number = args.fold_workers
    if number != "auto" and not (number.isascii() and number.isdecimal() and int(number) > 0):
        raise InputError(f"fold_workers: {number} is neither auto nor a number above 0")
    if number in ("auto", "1"):
        return
    if args.fold is not None:
        raise InputError(f"fold_workers: {number} folds at a time, but --fold {args.fold} trains one; give one of both")
    if args.num_folds == 1:
        raise InputError(f"fold_workers: {number} folds at a time, but num_folds is 1")
    if are_several():
        several = "several processes of a launcher share each fold (for a model or a batch too large for one GPU)"
        raise InputError(f"fold_workers: {number} trains a fold in each process, while {several}; give one of both")


@dataclass
class ModelArguments(DataArguments):
    """Fields of every task whose model comes from transformers."""

    GROUP: ClassVar[str] = "model"

    model_name_or_path: str = field(
        default="scratch", metadata={"help": "folder, hub id, or scratch: a small model with random weights"}
    )
    trust_remote_code: bool = field(default=False, metadata={"help": "run the model code that a hub repository brings"})


@dataclass
class TeacherArguments(DataArguments):
    """Soft labels of finished runs (common/tricks/teacher.py)."""

    GROUP: ClassVar[str] = "soft labels of other runs"
    LIMITS: ClassVar[dict] = {"teacher_weight": (0, 1), "temperature": (0.01, None)}
    MIXED: ClassVar[tuple[str, ...]] = ("mixup_alpha", "feature_oversample_ratio", "flip_pairs")  # rows or labels

    teacher: list[str] | None = field(
        default=None, metadata={"help": "finished runs with the same folds, whose out-of-fold logits are soft labels"}
    )
    teacher_logits: Literal["out_of_fold", "own_fold"] = field(
        default="out_of_fold",
        metadata={"help": "own_fold: of the fold's own model, from a run with the training file as its test_file"},
    )
    teacher_weight: float = field(default=0.5, metadata={"help": "share of the soft labels in the loss"})
    temperature: float = field(default=2.0, metadata={"help": "teacher: what logits are divided by, T"})

    def check(self, training_args: Any) -> None:
        super().check(training_args)
        if self.teacher:
            self.teacher = [os.path.abspath(path) for path in self.teacher]
            self.refuse_mixed("teacher")

    def refuse_mixed(self, option: str) -> None:
        """Raise InputError where another option makes rows that no soft label belongs to."""
        if mixed := [name for name in self.MIXED if vars(self).get(name)]:
            raise InputError(f"{option}: a soft label belongs to one row as it is, so it cannot go with {mixed[0]}")


@dataclass
class StoppingArguments(TeacherArguments):
    """Which weights a fold ends with."""

    GROUP: ClassVar[str] = "which weights a fold ends with"
    LIMITS: ClassVar[dict] = {"early_stopping_patience": (1, None), "ema_decay": (0, 1)}

    early_stopping_patience: int | None = field(
        default=None, metadata={"help": "stop after this many evaluations without a better metric_for_best_model"}
    )
    ema_decay: float = field(
        default=0.0, metadata={"help": "decay of the averaged weights used to evaluate and predict; 0: off"}
    )

    def check(self, training_args: Any) -> None:
        super().check(training_args)
        if self.early_stopping_patience is None:
            return
        evaluates = training_args.eval_strategy.value
        saves = training_args.save_strategy.value
        if evaluates == "no":
            raise InputError("early_stopping_patience: needs evaluations, eval_strategy is no")
        if (
            saves not in ("best", evaluates)
            or saves == "steps"
            and training_args.save_steps != training_args.eval_steps
        ):
            how = "give save_strategy and save_steps as for eval"
            raise InputError(f"early_stopping_patience: each evaluation needs a checkpoint; {how}")


@dataclass
class ImbalanceArguments(DataArguments):
    """What can be done about classes of unequal size, in the training part of each fold."""

    GROUP: ClassVar[str] = "classes of unequal size"
    LIMITS: ClassVar[dict] = {
        "oversample_ratio": (0, 1),
        "undersample_ratio": (0, 1),
        "class_weight_strength": (0, 1),
        "focal_gamma": (0, None),
    }

    oversample_ratio: float = field(
        default=0.0,
        metadata={"help": "raise classes of n rows to n^(1-r) n_max^r in a fold's training part; 0: off, 1: all equal"},
    )
    undersample_ratio: float = field(
        default=0.0, metadata={"help": "cut classes to n_max (n_min / n_max)^r rows; 0: off, 1: all equal"}
    )
    class_weight_strength: float = field(
        default=0.0, metadata={"help": "0: none, 1: inversely proportional to class frequency"}
    )
    focal_gamma: float = field(default=0.0, metadata={"help": "gamma of the focal loss; 0: cross-entropy"})


@dataclass
class TextArguments(ModelArguments):
    """How texts become batches."""

    GROUP: ClassVar[str] = "texts and batches"
    LOOP: ClassVar[str] = TEXTS
    LIMITS: ClassVar[dict] = {"tokens_per_batch": (1, None)}

    max_length: str = field(
        default="64",
        metadata={"help": "tokens per row, or auto: the shortest that covers 99.5 %% of the training rows"},
    )
    tokens_per_batch: int | None = field(
        default=None,
        metadata={
            "help": "batches of about this many tokens, padding included, in place of per_device_train_batch_size rows"
        },
    )
    batch_by_length: bool = field(
        default=True, metadata={"help": "rows of similar length share a batch; off: random batches"}
    )
    adversarial_validation: bool = field(
        default=False, metadata={"help": "report how well train and test texts can be told apart (AUC)"}
    )
    freeze_word_embeddings: bool = field(
        default=False, metadata={"help": "do not train the word embeddings: less memory, faster on CPUs"}
    )
    full_vocabulary: bool = field(
        default=False,
        metadata={
            "help": "train with the word vectors of tokens that no row has, too, which only weight decay changes; off: "
            "those are left out until the fold is saved, and stay as they were"
        },
    )


@dataclass
class PseudoArguments(TeacherArguments):
    """Rows without labels that join training with a run's predictions (common/tricks/pseudo.py)."""

    GROUP: ClassVar[str] = "rows without labels"
    DATA_FIELDS: ClassVar[tuple[str, ...]] = (*DATA_FIELDS, "pseudo_file")
    LIMITS: ClassVar[dict] = {"pseudo_min_probability": (0, 1)}

    pseudo_file: str | None = field(
        default=None,
        metadata={"help": "rows that join training with the predictions of pseudo_run; labels are not read"},
    )
    pseudo_run: str | None = field(
        default=None, metadata={"help": "finished run with the same folds and with pseudo_file as its test_file"}
    )
    pseudo_min_probability: float = field(
        default=0.9, metadata={"help": "rows whose likeliest label is less probable are left out"}
    )
    pseudo_soft: bool = field(
        default=False, metadata={"help": "train on the probabilities, not on the likeliest label"}
    )

    def check(self, training_args: Any) -> None:
        super().check(training_args)
        if (self.pseudo_file is None) != (self.pseudo_run is None):
            raise InputError("pseudo_file and pseudo_run: the rows and the run that labels them go together")
        if self.pseudo_run is not None:
            self.pseudo_run = os.path.abspath(self.pseudo_run)
            if self.pseudo_soft:
                self.refuse_mixed("pseudo_soft")
        elif self.pseudo_soft:
            raise InputError("pseudo_soft: needs a pseudo_file and a pseudo_run")


@dataclass
class TrickArguments(TextArguments):
    """Optional pieces of TextTrainer; each is off at its default and imported only when on."""

    GROUP: ClassVar[str] = "fine-tuning"
    LIMITS: ClassVar[dict] = {
        "lora_r": (0, None),
        "lora_alpha": (0, None),
        "lora_dropout": (0, 1),
        "layerwise_lr_decay": (0, 1),
        "feature_oversample_ratio": (0, 1),
        "rdrop_alpha": (0, None),
        "fgm_epsilon": (0, None),
        "awp_epsilon": (0, None),
        "awp_learning_rate": (0, None),
    }

    auto_batch_size: bool = field(
        default=False,
        metadata={"help": "per-device batch that fills 60 to 80 %% of the GPU; the effective batch stays"},
    )
    lora_r: int = field(default=0, metadata={"help": "rank of LoRA adapters; 0: off"})
    lora_alpha: int = field(default=16, metadata={"help": "LoRA scaling"})
    lora_dropout: float = field(default=0.1, metadata={"help": "dropout in front of the adapters"})
    head_learning_rate: float | None = field(
        default=None,
        metadata={"help": "learning rate of what stands on top of the encoder; default: learning_rate"},
    )
    layerwise_lr_decay: float = field(
        default=1.0, metadata={"help": "learning rate of a layer over that of the layer above; 1: off"}
    )
    feature_oversample_ratio: float = field(
        default=0.0, metadata={"help": "as oversample_ratio, with rows made from sentence vectors; 0: off"}
    )
    feature_oversample_method: Literal["smote", "rose"] = field(
        default="smote", metadata={"help": "between neighbours, or with noise"}
    )
    rdrop_alpha: float = field(default=0.0, metadata={"help": "weight of R-Drop's KL term; 0: off"})
    fgm_epsilon: float = field(default=0.0, metadata={"help": "FGM: length of the step on the word embeddings; 0: off"})
    awp_epsilon: float = field(default=0.0, metadata={"help": "AWP: largest relative change of a weight; 0: off"})
    awp_learning_rate: float = field(
        default=0.1, metadata={"help": "AWP: step, relative to the norm of a weight matrix"}
    )

    @property
    def cuts_vocabulary(self) -> bool:
        """Whether word embeddings are trained, and only those of tokens that occur (common/tricks/vocabulary.py)."""
        return not (self.full_vocabulary or self.freeze_word_embeddings or self.lora_r)

    def check(self, training_args: Any) -> None:
        super().check(training_args)
        if self.head_learning_rate is not None and not 0 < self.head_learning_rate < math.inf:
            raise InputError(f"head_learning_rate: {self.head_learning_rate} is not a number above 0")
        if self.fgm_epsilon and self.lora_r:
            raise InputError(
                "fgm_epsilon: does nothing with lora_r, which freezes the word embeddings; use awp_epsilon"
            )
        if self.fgm_epsilon and self.freeze_word_embeddings:
            what = "the gradients of the word embeddings, which freeze_word_embeddings turns off"
            raise InputError(f"fgm_epsilon: needs {what}")
        if self.fgm_epsilon and self.awp_epsilon:
            raise InputError("fgm_epsilon and awp_epsilon: only one attack at a time")


@dataclass
class PredictArguments:
    """Fields of every predict.py."""

    GROUP: ClassVar[str] = "prediction"
    LIMITS: ClassVar[dict] = {"max_predict_samples": (1, None), "torch_num_threads": (1, MAX_THREADS)}

    run_dir: list[str] = field(
        metadata={"help": "one or several runs; the logits of all folds of all runs are averaged"}
    )
    test_file: str = field(metadata={"help": "rows to predict"})
    submission_file: str = field(
        default="submission.csv",
        metadata={"help": "where to write; S.logits.npz (and S.metrics.json) go beside S.csv"},
    )
    sample_submission_file: str | None = field(default=None, metadata={"help": SAMPLE_HELP})
    weights: list[float] | None = field(default=None, metadata={"help": "one weight per run; default: equal"})
    max_predict_samples: int | None = field(
        default=None, metadata={"help": "predict only the first rows; the check against the sample is skipped"}
    )
    torch_num_threads: int | None = field(default=None, metadata={"help": THREADS_HELP})
    quiet: bool = field(default=False, metadata={"help": QUIET_HELP})

    def check(self) -> None:
        """What types and LIMITS cannot say. Raises InputError. A task calls super().check() first."""
        if self.weights and len(self.weights) != len(self.run_dir):
            raise InputError(f"weights: {len(self.weights)} were given for {len(self.run_dir)} runs")
        for weight in self.weights or []:
            if not 0 <= weight < math.inf:
                raise InputError(f"weights: {weight} is not 0 or more")
        if self.weights and not sum(self.weights) > 0:
            raise InputError("weights: all are 0, one above 0 was expected")


@dataclass
class TextPredictArguments(PredictArguments):
    """Fields of the predict.py of a text task."""

    GROUP: ClassVar[str] = "texts"
    LIMITS: ClassVar[dict] = {"tokens_per_batch": (1, None)}

    tokens_per_batch: int | None = field(
        default=None,
        metadata={"help": "tokens per batch and device, padding included; default: 16384, on a CPU 1024"},
    )
    int8: bool = field(
        default=False,
        metadata={"help": "8-bit weights on a CPU: faster, other logits; what it changes is printed where labels are"},
    )
    torch_compile: bool = field(
        default=False,
        metadata={"help": "compile the models first, which takes a minute or more: for long files, on a GPU above all"},
    )
    prior_correction: bool = field(
        default=False,
        metadata={
            "help": "estimate the label shares of the test file by EM (Saerens et al. 2002) and correct the logits "
            "for them"
        },
    )

    def check(self) -> None:
        """Also that one thing is asked for."""
        super().check()
        if self.int8 and self.torch_compile:
            raise InputError("torch_compile: does not go with int8, whose operations are compiled already")
