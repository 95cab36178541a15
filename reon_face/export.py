"""A trained model as ONNX, for the page in web/ and for onnxruntime: fp32, fp16, int8; each is compared with PyTorch.

python {task}/export.py RUN/fold0 --output_dir exported
python {task}/export.py RUN/fold0 --precision fp32 fp16 int8 --calibration_file CROPS --eval_file MORE_CROPS
"""

import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from common.console import InputError, print_once, run_main
from common.options.checks import check_folder, check_number
from common.options.fields import MAX_THREADS
from common.options.help import show_help
from common.options.parser import Parser

if TYPE_CHECKING:
    import numpy as np

PRECISIONS = ("fp32", "fp16", "int8")
PARITY = 1e-3  # largest difference of a probability between PyTorch and fp32 that is not a bug
BATCH = 64  # images in memory
NOISE = 16  # random crops where no images are given


@dataclass
class ExportArguments:
    """Fields of export.py."""

    output_dir: str = field(
        default="exported", metadata={"help": "<precision>/model.onnx and model.json, and export.json go here"}
    )
    precision: list[str] = field(
        default_factory=lambda: ["fp32"], metadata={"help": "one or several of fp32, fp16, int8"}
    )
    calibration_file: str | None = field(
        default=None,
        metadata={"help": "images or crops as train.py reads them; the ranges of int8 are measured on them"},
    )
    eval_file: str | None = field(
        default=None, metadata={"help": "labelled images or crops: parity and accuracy are measured on them"}
    )
    max_calibration_samples: int = field(
        default=256, metadata={"help": "use this many of calibration_file, spread over it"}
    )
    max_eval_samples: int | None = field(default=None, metadata={"help": "use this many of eval_file, spread over it"})
    torch_num_threads: int | None = field(default=None, metadata={"help": "CPU threads; default: torch's"})


def parse_args(argv: list[str] | None = None) -> tuple[ExportArguments, Path]:
    """The options, and the model's folder. Exits after --help. Raises InputError."""
    argv = sys.argv[1:] if argv is None else argv
    parser = Parser(ExportArguments, prog="export.py")
    parser.add_argument("model_dir", help="a fold of a run, or another folder that save_pretrained wrote")
    if {"-h", "--help"} & set(argv):
        show_help(parser, __doc__, Path(__file__).parent)
        sys.exit()
    args, positional = parser.parse(argv)
    model_dir = Path(positional.model_dir)
    check_arguments(args, model_dir)
    return args, model_dir


def main(args: ExportArguments, model_dir: Path) -> None:
    """Convert the model to every precision, then hold what each says of the images against PyTorch."""
    # torch and transformers are imported only now: --help answers at once
    import numpy as np
    import torch

    from common.files import sha256, write_json
    from common.options.args import set_threads

    from model import class_names_of, load_fold, preprocessing_of
    from scoring.convert import convert_fp16, convert_int8, export_fp32
    from scoring.watch import load_onnx, of_models

    set_threads(args.torch_num_threads, True)
    say_same_rows(args)
    output_dir = Path(args.output_dir)
    preprocessing = preprocessing_of(model_dir)
    label_names = class_names_of(model_dir)
    model = load_fold(model_dir, torch.device("cpu"), label_names)
    if args.eval_file:
        batches = read_batches(args.eval_file, model.config, label_names, args.max_eval_samples)
    else:
        noise = np.random.default_rng(0).integers(0, 256, (NOISE, *[preprocessing.image_size] * 2, 3), dtype=np.uint8)
        batches = iter([(preprocessing.pixel_values(noise), np.full(NOISE, -1))])
        print_once(f"no eval_file: parity is measured on {NOISE} crops of noise, accuracy is not")
    first = next(batches)  # before the conversion, because unreadable images are bad input
    calibration = None
    if "int8" in args.precision:
        parts = read_batches(args.calibration_file, model.config, label_names, args.max_calibration_samples)
        calibration = np.concatenate([pixel_values for pixel_values, _ in parts])

    models = {"pytorch": of_models([model])}
    with tempfile.TemporaryDirectory() as folder:
        fp32 = Path(folder) / "fp32.onnx"
        export_fp32(model, preprocessing.image_size, fp32)
        for precision in args.precision:
            converted = Path(folder) / f"{precision}.onnx"
            if precision == "fp16":
                convert_fp16(fp32, converted)
            elif precision == "int8":
                convert_int8(fp32, converted, calibration)
            write_model(output_dir / precision, converted, precision, label_names, asdict(preprocessing))
            models[precision] = load_onnx(output_dir / precision).probabilities

    found = {name: [] for name in models}
    labels = []
    for pixel_values, of_batch in chain([first], batches):  # all images at once do not fit into memory
        labels.append(of_batch)
        for name, probabilities in models.items():
            found[name].append(probabilities(pixel_values))
    found = {name: np.concatenate(parts) for name, parts in found.items()}
    labels = np.concatenate(labels)
    expected = found.pop("pytorch")
    labelled = (labels >= 0).all()
    report = {"model_dir": str(model_dir.resolve()), "rows": len(labels), "eval_file": args.eval_file, "precisions": {}}
    if labelled:
        report["pytorch_accuracy"] = accuracy(expected, labels)
    for precision, values in found.items():
        path = output_dir / precision / "model.onnx"
        result = {
            "bytes": path.stat().st_size,
            "sha256": sha256(path),
            "max_probability_difference": float(np.abs(values - expected).max()),
            "mean_probability_difference": float(np.abs(values - expected).mean()),
            "same_label": float((values.argmax(axis=1) == expected.argmax(axis=1)).mean()),
        }
        if precision == "fp32" and not result["max_probability_difference"] < PARITY:
            raise RuntimeError(f"fp32 differs from PyTorch by {result['max_probability_difference']}")
        if labelled:
            result["accuracy"] = accuracy(values, labels)
        report["precisions"][precision] = result
        print_once(describe(precision, result))
    if labelled:
        print_once(f"pytorch: accuracy {report['pytorch_accuracy']:.4f} on {len(labels)} rows")
    write_json(output_dir / "export.json", report)
    print_once(f"done: {output_dir}")


def check_arguments(args: ExportArguments, model_dir: Path) -> None:
    """Raise InputError for what the types cannot say."""
    for precision in args.precision:
        if precision not in PRECISIONS:
            raise InputError(f"precision: {precision} is not one of {', '.join(PRECISIONS)}")
    if "int8" in args.precision and args.calibration_file is None:
        raise InputError(
            "precision: int8 needs a --calibration_file, images on which the ranges of its numbers are measured"
        )
    if "int8" not in args.precision and args.calibration_file is not None:
        raise InputError("calibration_file: only int8 is calibrated; add it to --precision")
    check_number("max_calibration_samples", args.max_calibration_samples, 1)
    check_number("max_eval_samples", args.max_eval_samples, 1)
    check_number("torch_num_threads", args.torch_num_threads, 1, MAX_THREADS)
    check_folder(Path(args.output_dir), "output_dir")
    for path in (model_dir, args.calibration_file, args.eval_file):
        if path is not None and not Path(path).exists():
            raise InputError(f"{path}: no such file or folder")
    if not (model_dir / "config.json").is_file():
        folds = sorted(model_dir.glob("fold*/config.json"))
        hint = f"; one model is exported at a time, such as {folds[0].parent}" if folds else ""
        raise InputError(f"{model_dir}: holds no config.json, a model's folder was expected{hint}")


def say_same_rows(args: ExportArguments) -> None:
    """A line where int8 is measured on the rows that its ranges were measured on."""
    files = [path and Path(path).resolve() for path in (args.calibration_file, args.eval_file)]
    if files[0] is not None and files[0] == files[1]:
        print_once("eval_file: is the calibration_file; what is said of int8 is optimistic, name other images")


def read_batches(
    path: str, config, label_names: list[str], limit: int | None
) -> "Iterator[tuple[np.ndarray, np.ndarray]]":
    """pixel_values (B, 3, S, S) float32 and labels (B,), -1 where unknown, of images as predict.py reads them; limit:
    rows at most, spread over all.

    Raises InputError where an image cannot be decoded.
    """
    import numpy as np

    from data import read_examples
    from images import FaceCollator

    examples = read_examples(path, {"label_names": label_names, "subject_pattern": None})
    numbers = np.linspace(0, len(examples) - 1, min(limit or len(examples), len(examples))).astype(int)
    collate = FaceCollator(config)
    for batch in np.split(numbers, range(BATCH, len(numbers), BATCH)):
        rows = collate([{"path": examples[i].path, "row": examples[i].row, "labels": examples[i].label} for i in batch])
        yield rows["pixel_values"].numpy(), rows["labels"].numpy()


def write_model(folder: Path, source: Path, precision: str, label_names: list[str], preprocessing: dict) -> None:
    """model.onnx, and model.json: what score.py and the page need to know about it."""
    from common.files import atomic_write, write_json

    with atomic_write(folder / "model.onnx", "wb") as file:
        file.write(source.read_bytes())
    write_json(
        folder / "model.json",
        {"model": "model.onnx", "precision": precision, "label_names": label_names, **preprocessing},
    )


def accuracy(probabilities, labels) -> float:
    return float((probabilities.argmax(axis=1) == labels).mean())


def describe(precision: str, result: dict) -> str:
    text = (
        f"{precision}: {result['bytes'] / 1e6:.2f} MB, largest difference of a probability "
        f"{result['max_probability_difference']:.2e}"
    )
    text += f", same label in {result['same_label']:.1%}"
    return text + (f", accuracy {result['accuracy']:.4f}" if "accuracy" in result else "")


if __name__ == "__main__":
    run_main(lambda: main(*parse_args()))
