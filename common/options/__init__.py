"""The command line: an option has a field (fields.py), a range beside it, and what only a look can say (checks.py)."""

from common.options.args import parse_predict_args, parse_train_args
from common.options.decoders import TEMPLATE_HELP, TextTaskArguments
from common.options.fields import (
    DATA_FIELDS,
    DataArguments,
    ImbalanceArguments,
    ModelArguments,
    PredictArguments,
    StoppingArguments,
    TextArguments,
    TextPredictArguments,
    TrickArguments,
)

__all__ = [
    "DATA_FIELDS",
    "TEMPLATE_HELP",
    "DataArguments",
    "ImbalanceArguments",
    "ModelArguments",
    "PredictArguments",
    "StoppingArguments",
    "TextArguments",
    "TextPredictArguments",
    "TextTaskArguments",
    "TrickArguments",
    "parse_predict_args",
    "parse_train_args",
]
