"""Keep what a run has measured beside the README that names it: docs/results/NAME.json, which tests/test_results.py holds
the README against.

    python tests/benchmarks/record_result.py RUN --name friends_small --model all-MiniLM-L6-v2 --machine "2 CPU cores" \
        --command "accelerate launch friends/train.py --config friends/configs/small.yaml --train_file T" \
        --number "README.md [friends] eval.accuracy eval.standard_error 100 1"

A number: the page; what its row of a table holds, quoted where that has spaces; where its value and its standard error
stand in metrics.json (of several RUNs, seeds say, the error is that between them); what both are multiplied by; digits.
"""

import argparse
import json
import shlex
from pathlib import Path

from common.files import atomic_write, read_json
from common.run import read_config

RESULTS = Path(__file__).parents[2] / "docs" / "results"
PARTS = ("oof", "eval", "folds")
DIGITS = 6  # of the metrics that are kept
SEED = 42  # of TrainingArguments; a config.yaml has what is not at its default


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="run folders, one for each seed")
    parser.add_argument("--name", required=True, help="of the file, without .json")
    parser.add_argument("--model", required=True, help="which weights, in words")
    parser.add_argument("--machine", required=True, help="in words")
    parser.add_argument("--command", required=True, help="as a reader would write it, without your paths")
    parser.add_argument("--number", required=True, action="append", help="PAGE ROW VALUE ERROR SCALE DIGITS")
    args = parser.parse_args()
    result = {"task": read_json(args.runs[0] / "run.json")["task"], "command": args.command, "model": args.model}
    result |= {"machine": args.machine, "numbers": [number_of(words, len(args.runs)) for words in args.number]}
    result["runs"] = [record(run) for run in args.runs]
    with atomic_write(RESULTS / f"{args.name}.json") as file:
        file.write(json.dumps(result, indent=1, ensure_ascii=False) + "\n")


def number_of(words: str, num_runs: int) -> dict[str, object]:
    """A --number as test_results.py reads it."""
    page, row, value, error, scale, digits = shlex.split(words)
    shared = {"page": page, "row": row, "value": value, "scale": int(scale), "digits": int(digits)}
    return shared if num_runs > 1 else {**shared, "error": error}


def seconds_of_folds(run: Path) -> float:
    """What training took, of a run whose folds were trained alone and collected."""
    logs = [read_json(path)["log_history"] for path in run.glob("fold*/fold.json")]
    return sum(next(entry["train_runtime"] for entry in reversed(log) if "train_runtime" in entry) for log in logs)


def record(run: Path) -> dict[str, object]:
    """What is kept of a run: no path of its machine."""
    about = read_json(run / "run.json")
    metrics = read_json(run / "metrics.json")
    rows = {name: file["rows"] for name, file in about["data"].items() if "rows" in file}
    return {
        "seed": read_config(run).get("seed", SEED),
        "commit": about["commit"],
        "minutes": round((about["seconds"].get("train") or seconds_of_folds(run)) / 60, 1),
        "rows": rows,
        "packages": about["packages"],
        "metrics": {part: rounded(metrics[part]) for part in PARTS if part in metrics},
    }


def rounded(value: object) -> object:
    """The same with shorter numbers."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return round(value, DIGITS) if isinstance(value, float) else value


if __name__ == "__main__":
    main()
