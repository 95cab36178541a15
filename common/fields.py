"""The fields that several tasks share, in groups; a train.py declares one dataclass that inherits from those that it
needs."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

DATA_FIELDS = ("train_file", "eval_file", "test_file", "sample_submission_file")
# What belongs to one start of a run and not to the run itself: not written to config.yaml.
START_FIELDS = ("config", "output_dir", "resume", "fold", "stop_after_epoch")


@dataclass
class DataArguments:
    """Fields of every train.py. A task that reads more files names their fields in DATA_FIELDS, after these."""

    DATA_FIELDS: ClassVar[tuple[str, ...]] = DATA_FIELDS

    config: str | None = field(
        default=None,
        metadata={"help": "YAML preset or a run's config.yaml; default: final with the competition's files, else demo"},
    )
    train_file: str | None = field(default=None, metadata={"help": "labelled rows to train on"})
    eval_file: str | None = field(default=None, metadata={"help": "labelled rows that no model trains on"})
    test_file: str | None = field(default=None, metadata={"help": "rows to predict for the submission"})
    sample_submission_file: str | None = field(
        default=None, metadata={"help": "the competition's sample; the submission is checked against it"}
    )
    num_folds: int = field(
        default=1,
        metadata={"help": "K-fold cross-validation; 1: train once, on all of train_file where there is an eval_file"},
    )
    fold: int | None = field(
        default=None,
        metadata={"help": "train only this fold (0-based), write only fold<k>/; collect later with --resume"},
    )
    fold_seed: int = field(default=42, metadata={"help": "seed of the split into folds"})
    resume: bool = field(default=False, metadata={"help": "go on where the run in output_dir stopped"})
    stop_after_epoch: int | None = field(
        default=None, metadata={"help": "stop when this many epochs are trained, 0: before the first; --resume goes on"}
    )
    max_train_samples: int | None = field(default=None, metadata={"help": "use only the first rows of train_file"})
    max_eval_samples: int | None = field(default=None, metadata={"help": "use only the first rows of eval_file"})
    max_predict_samples: int | None = field(default=None, metadata={"help": "predict only the first rows of test_file"})
    torch_num_threads: int | None = field(
        default=None,
        metadata={
            "help": "CPU threads per process; default: torch's, or cores / local processes where a launcher set 1"
        },
    )


@dataclass
class ModelArguments:
    """Fields of every task whose model comes from transformers."""

    model_name_or_path: str = field(
        default="scratch", metadata={"help": "folder, hub id, or scratch: a small model with random weights"}
    )
    trust_remote_code: bool = field(default=False, metadata={"help": "run the model code that a hub repository brings"})


@dataclass
class TextArguments:
    """Fields of the text tasks."""

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


@dataclass
class TuningArguments:
    """Optional pieces of training through the Trainer; each is off at its default and imported only when on."""

    early_stopping_patience: int | None = field(
        default=None, metadata={"help": "stop after this many evaluations without a better metric_for_best_model"}
    )
    auto_batch_size: bool = field(
        default=False,
        metadata={"help": "per-device batch that fills 60 to 80 %% of the GPU; the effective batch stays"},
    )
    lora_r: int = field(default=0, metadata={"help": "rank of LoRA adapters; 0: off"})
    lora_alpha: int = field(default=16, metadata={"help": "LoRA scaling"})
    lora_dropout: float = field(default=0.1, metadata={"help": "dropout in front of the adapters"})
    head_learning_rate: float | None = field(
        default=None, metadata={"help": "learning rate of what stands on top of the encoder; default: learning_rate"}
    )
    layerwise_lr_decay: float = field(
        default=1.0, metadata={"help": "learning rate of a layer over that of the layer above; 1: off"}
    )
    oversample_ratio: float = field(
        default=0.0,
        metadata={"help": "raise classes of n rows to n^(1-r) n_max^r in a fold's training part; 0: off, 1: all equal"},
    )
    undersample_ratio: float = field(
        default=0.0, metadata={"help": "cut classes to n_max (n_min / n_max)^r rows; 0: off, 1: all equal"}
    )
    feature_oversample_ratio: float = field(
        default=0.0, metadata={"help": "as oversample_ratio, with rows made from sentence vectors; 0: off"}
    )
    feature_oversample_method: Literal["smote", "rose"] = field(
        default="smote", metadata={"help": "between neighbours, or with noise"}
    )
    class_weight_strength: float = field(
        default=0.0, metadata={"help": "0: none, 1: inversely proportional to class frequency"}
    )
    focal_gamma: float = field(default=0.0, metadata={"help": "gamma of the focal loss; 0: cross-entropy"})
    rdrop_alpha: float = field(default=0.0, metadata={"help": "weight of R-Drop's KL term; 0: off"})
    fgm_epsilon: float = field(default=0.0, metadata={"help": "FGM: length of the step on the word embeddings; 0: off"})
    awp_epsilon: float = field(default=0.0, metadata={"help": "AWP: largest relative change of a weight; 0: off"})
    awp_learning_rate: float = field(
        default=0.1, metadata={"help": "AWP: step, relative to the norm of a weight matrix"}
    )
    ema_decay: float = field(
        default=0.0, metadata={"help": "decay of the averaged weights used to evaluate and predict; 0: off"}
    )


@dataclass
class PredictArguments:
    """Fields of every predict.py."""

    run_dir: list[str] = field(
        metadata={"help": "one or several runs; the logits of all folds of all runs are averaged"}
    )
    test_file: str = field(metadata={"help": "rows to predict"})
    submission_file: str = field(
        default="submission.csv", metadata={"help": "where to write; S.logits.npz (and S.metrics.json) go beside S.csv"}
    )
    sample_submission_file: str | None = field(
        default=None, metadata={"help": "the competition's sample; the submission is checked against it"}
    )
    weights: list[float] | None = field(default=None, metadata={"help": "one weight per run; default: equal"})
    max_predict_samples: int | None = field(
        default=None, metadata={"help": "predict only the first rows; the check against the sample is skipped"}
    )
    torch_num_threads: int | None = field(
        default=None,
        metadata={
            "help": "CPU threads per process; default: torch's, or cores / local processes where a launcher set 1"
        },
    )


@dataclass
class TextPredictArguments(PredictArguments):
    """Fields of the predict.py of a text task."""

    tokens_per_batch: int | None = field(
        default=None, metadata={"help": "tokens per batch and device, padding included; default: 16384, on a CPU 1024"}
    )
    prior_correction: bool = field(
        default=False,
        metadata={
            "help": (
                "estimate the label shares of the test file by EM (Saerens et al. 2002) and correct the logits for them"
            )
        },
    )
