"""Further pre-training of a model on a competition's texts, those of the test file too: masked language modelling, or
causal for decoders (Gururangan et al. 2020 "Don't Stop Pretraining").

python -m common.pretrain friends --model_name_or_path bert-base-cased --train_file T.json TEST.csv --output_dir MODEL
python -m common.pretrain friends ... --output_dir MODEL --resume              # goes on where it was stopped
accelerate launch friends/train.py --model_name_or_path MODEL

Rows are packed: texts stand end to end, max_length tokens a row. Whole words are masked. Labels are not read.
"""

from pathlib import Path  # PYTHON_ARGCOMPLETE_OK
from typing import Any

from common.console import ArgumentParser, InputError, print_once, run_main
from common.files import read_json, write_json
from common.guards.launcher import refuse_fsdp
from common.options.checks import check_number
from common.options.fields import MAX_SEED
from common.options.task_module import load_data_module

RECORD = "pretrain.json"
SAME = ("task", "model_name_or_path", "data", "options")  # of RECORD: what must not change when a run goes on


def make_parser() -> ArgumentParser:
    parser = ArgumentParser("python -m common.pretrain", __doc__)
    parser.add_argument("task", type=Path, help="the folder whose data.py reads the files")
    parser.add_argument("--model_name_or_path", required=True, help="folder, hub id, or scratch")
    parser.add_argument("--train_file", nargs="+", required=True, help="files of the competition, labelled or not")
    parser.add_argument("--output_dir", type=Path, required=True, help="the model's folder, for --model_name_or_path")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in output_dir")
    parser.add_argument("--max_length", type=int, default=128, help="tokens of a packed row")
    parser.add_argument("--mlm_probability", type=float, default=0.15, help="share of the words that are masked")
    parser.add_argument("--no_whole_word_mask", action="store_true", help="mask tokens, 80/10/10 as BERT does")
    parser.add_argument("--num_train_epochs", type=int, default=3)
    parser.add_argument("--learning_rate", type=float, default=5e-5)
    parser.add_argument("--per_device_train_batch_size", type=int, default=16, help="packed rows")
    parser.add_argument("--gradient_accumulation_steps", type=int, default=1)
    parser.add_argument("--warmup_steps", type=float, default=0.06, help="below 1: share of all steps")
    parser.add_argument("--weight_decay", type=float, default=0.01)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--torch_num_threads", type=int, help="CPU threads")
    parser.add_argument("--stop_after_epoch", type=int, help="stop when this many epochs are trained; --resume goes on")
    return parser


def main() -> None:
    args = make_parser().parse_args()
    check(args)
    data = load_data_module(args.task)

    from common.pretrain.model import load_language_model, pretrain
    from common.pretrain.texts import pack, read_texts

    texts = read_texts(data, args.train_file, args.model_name_or_path)
    model, tokenizer, causal = load_language_model(args, texts)
    record = make_record(args, causal)
    claim_folder(args, record)
    rows = pack(texts, tokenizer, args.max_length, causal)
    kind = "causal" if causal else "masked"
    print_once(f"{kind} language modelling on {len(rows)} rows of {args.max_length} tokens")
    record["rows"] = len(rows)
    record["log_history"] = pretrain(args, model, tokenizer, causal, rows)
    write_json(args.output_dir / RECORD, {**record, "status": "done"})
    print_once(f"done: --model_name_or_path {args.output_dir}")


def check(args: Any) -> None:
    """Raise InputError for values that no training can have, files that are not there, and a launcher that would share
    out the weights."""
    refuse_fsdp("common.pretrain")
    counts = ("max_length", "num_train_epochs", "per_device_train_batch_size", "gradient_accumulation_steps")
    for name in (*counts, "stop_after_epoch", "torch_num_threads"):
        check_number(name, getattr(args, name), 1)
    for name in ("warmup_steps", "weight_decay"):
        check_number(name, getattr(args, name), 0)
    check_number("seed", args.seed, 0, MAX_SEED)
    for name in ("learning_rate", "mlm_probability"):
        if not 0 < getattr(args, name) < 1:
            raise InputError(f"{name}: {getattr(args, name)} is not between 0 and 1")
    if args.max_length < 8:
        raise InputError(f"max_length: {args.max_length} is less than 8")
    for path in args.train_file:
        if not Path(path).is_file():
            raise InputError(f"{path}: no such file (train_file)")


def make_record(args: Any, causal: bool) -> dict[str, Any]:
    """What pretrain.json says of the run: inputs with their fingerprints, options, kind."""
    from common.files import sha256
    from common.guards.inputs import weights_fingerprints

    free = {"task", "train_file", "output_dir", "resume", "stop_after_epoch", "torch_num_threads", "model_name_or_path"}
    options = {key: value for key, value in vars(args).items() if key not in free}
    data = [sha256(path) for path in args.train_file]
    data += [entry["sha256"] for entry in weights_fingerprints(args).values()]
    return {
        "task": args.task.resolve().name,
        "model_name_or_path": args.model_name_or_path,
        "train_file": [str(Path(path).resolve()) for path in args.train_file],
        "data": data,
        "options": options,
        "kind": "causal" if causal else "masked",
    }


def claim_folder(args: Any, record: dict[str, Any]) -> None:
    """Hold output_dir and write the record. Raises InputError where another process holds it, or where what it holds is
    not this run to go on with."""
    from common.guards.lock import claim, refuse_full

    def fits(folder: Path) -> None:
        refuse_full(folder, args.resume)
        path = folder / RECORD
        before = read_json(path) if path.exists() else record
        for key in SAME:
            if before.get(key) != record[key]:
                raise InputError(f"{path}: was started with another {key}; name another --output_dir")

    fits(args.output_dir)
    claim(args.output_dir, False, None, fits)
    write_json(args.output_dir / RECORD, {**record, "status": "running"})


if __name__ == "__main__":
    run_main(main)
