"""Weights of several K-fold runs of a task, from their out-of-fold logits, and the submission of the blend.

python -m common.blend friends runs/friends/a runs/friends/b                   # a report in blends/friends
python -m common.blend friends RUN RUN --metric macro_f1 --tune_decision       # and offsets of the classes
python -m common.blend my_contest RUN RUN                                      # for the METRIC of its data.py
python -m common.blend my_contest RUN --tune_decision micro_f1                 # of several labels a row: thresholds
python -m common.blend friends RUN RUN --sample_submission_file S.csv          # submission.csv, checked against S.csv

The weights of a fold's rows come from the other folds, so that what is measured is what the blend is worth on rows that
it has not seen. Where it does not beat the plain average by two standard errors, take the average: the submission does.
"""

from argparse import Namespace  # PYTHON_ARGCOMPLETE_OK
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from common.blend.runs import Runs, load_runs, temperatures, told_runs
from common.blend.scores import SCORES, Score, find_score, scores_of
from common.blend.selection import bagged_weights, blend, cross_fit
from common.blend.submit import expect_submission, test_logits
from common.console import ArgumentParser, InputError, print_once, run_main
from common.files import read_yaml, write_json
from common.guards.terminal import columns_of, padded, told
from common.logits import Logits
from common.options.checks import check_folder
from common.options.task_module import load_data_module
from common.targets import Metric


def parse_args() -> Namespace:
    """The command line. Raises InputError for a single run without a decision to tune, and for numbers too small."""
    parser = ArgumentParser("python -m common.blend", __doc__)
    parser.add_argument("task", type=Path, help="the task's folder")
    parser.add_argument(
        "runs",
        type=Path,
        nargs="+",
        help="finished runs of it with the same folds; one alone with --tune_decision",
    )
    parser.add_argument("--output_dir", type=Path, help="default: blends/<task>, with -2, -3, ... where that exists")
    parser.add_argument(
        "--metric",
        help="what the weights are chosen for; default: the runs' or the folder's, else log_loss, of a number rmse",
    )
    parser.add_argument("--bags", type=int, default=20, help="bags of rows and runs whose weights are averaged")
    parser.add_argument("--seed", type=int, default=0, help="of the bags")
    parser.add_argument(
        "--tune_decision",
        nargs="?",
        const="",
        metavar="METRIC",
        help="offsets of the classes (two classes: a threshold; several labels: one each) for this metric; "
        "default: --metric where that is of decisions, else macro_f1",
    )
    parser.add_argument("--sample_submission_file", type=Path, help="the submission is checked against it")
    args = parser.parse_args()
    if len(args.runs) < 2 and args.tune_decision is None:
        raise InputError(f"{args.runs[0]}: is one run, two or more were expected, or --tune_decision")
    if args.bags < 1 or args.seed < 0:
        raise InputError("bags must be 1 or more, seed 0 or more")
    return args


def main() -> None:
    args = parse_args()
    # matplotlib and scikit-learn are imported only now: --help answers at once
    from common.blend.decision import cross_fit_offsets, find_decision_score, tune_offsets
    from common.blend.page import write_page

    data = load_data_module(args.task)
    task = args.task.resolve().name
    folder = choose_output(args.output_dir, task)
    runs = load_runs(args.runs, task)
    score, own = choose_score(args, data, runs)
    tuned_for = None if args.tune_decision is None else find_decision_score(args.tune_decision, score, runs.target, own)
    tests = test_logits(args.runs, runs)
    submission = expect_submission(data, args.runs, tests, args.sample_submission_file)

    options = score, args.bags, args.seed
    first = runs.logits[0]
    several = len(args.runs) > 1
    average = replace(first, logits=blend(runs.stack, equal_weights(runs))) if several else first
    blended, of_folds = cross_fit(runs.stack, runs.labels, runs.folds, *options)
    candidates = dict(zip(runs.names, runs.logits, strict=True))
    candidates |= {"average": average, "blend": replace(first, logits=blended)} if several else {}
    shown = scores_of(runs.target, score)
    table = score_table(candidates, average, shown)
    takes_blend = several and beats(table["blend"][f"{score.name}_gain"])
    weights = bagged_weights(runs.stack, runs.labels, *options) if takes_blend else equal_weights(runs)
    chosen = candidates["blend"] if takes_blend else average
    notes = [verdict(table, score.name, takes_blend), command_line(args, weights)] if several else []

    if told := told_runs(args.runs):
        notes.append(f"{', '.join(told)}: had out-of-fold soft labels, so their scores here and weights are optimistic")
    if hot := [str(path) for path in args.runs if temperatures(path)[0] != 1]:
        notes.append(f"{', '.join(hot)}: calibrated; logits are divided by the run's temperature, as predict.py does")
    offsets = np.zeros(len(runs.target))
    if tuned_for:
        tuned = replace(chosen, logits=cross_fit_offsets(chosen.logits, runs.labels, runs.folds, tuned_for))
        gain = tuned_for.gain(tuned.logits, chosen.logits, runs.labels)
        if beats(gain):
            offsets = tune_offsets(blend(runs.stack, weights), runs.labels, tuned_for)
        notes.append(decision_verdict(gain, tuned_for.name, offsets, first))
        table |= score_table({"tuned decision": tuned}, average, shown)

    for line in [*lines_of(table), *notes]:
        print_once(line)
    chosen.save(folder / "oof_logits.npz")
    if tests:
        logits = replace(tests[0], logits=blend(np.stack([part.logits for part in tests]), weights))
        logits.save(folder / "test_logits.npz")
        submission.write(folder / "submission.csv", logits, offsets)
        print_once(f"{folder / 'submission.csv'}: {len(logits.ids)} rows")
    record = {"task": task, "runs": [str(path.resolve()) for path in args.runs], "weights": weights.tolist()}
    record |= {"metric": score.name, "takes": "blend" if takes_blend else "average", "scores": table}
    record |= {"weights_of_folds": of_folds.tolist(), "offsets": offsets.tolist()}
    write_page(folder, task, runs, lines_of(table, markdown=True), notes, weights, of_folds)
    write_json(folder / "blend.json", record)  # last: with it the folder is whole
    print_once(f"report {folder / 'report.md'}")


def choose_score(args: Any, data: ModuleType, runs: Runs) -> tuple[Score, Metric | None]:
    """What the weights are for, and the folder's own metric: --metric, else the metric of the first run, else data.py's
    METRIC, else the first of SCORES. Raises InputError for one that is not defined for the target."""
    declared = getattr(data, "METRIC", None)
    own = declared if isinstance(declared, Metric) else None
    said = [args.metric, read_yaml(args.runs[0] / "config.yaml").get("metric"), own.name if own else declared]
    name = next((name for name in said if name), SCORES[runs.target.kind][0])
    return find_score(name, runs.target, own), own


def choose_output(given: Path | None, task: str) -> Path:
    """The folder to write into. Raises InputError for one that holds anything or that cannot be written to."""
    folder = given or Path("blends") / task
    number = 1
    while given is None and folder.exists():
        number += 1
        folder = Path("blends") / f"{task}-{number}"
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: exists and is not an empty folder; name another --output_dir")
    check_folder(folder, "output_dir")
    return folder


def equal_weights(runs: Runs) -> np.ndarray:
    """(R,)."""
    return np.full(len(runs.names), 1 / len(runs.names))


def score_table(candidates: dict[str, Logits], average: Logits, shown: Sequence[Score]) -> dict[str, dict[str, Any]]:
    """Name -> its scores, and `<score>_gain`: by how much it is better than the average, with the standard error of
    this over the same rows."""
    table = {}
    for name, logits in candidates.items():
        scores = {score.name: score.value(logits.logits, logits.labels) for score in shown}
        pair = logits.logits, average.logits, average.labels
        gains = {f"{score.name}_gain": score.gain(*pair) for score in shown if logits is not average}
        table[name] = {**scores, **gains}
    return table


def beats(gain: tuple[float, float]) -> bool:
    """Whether a gain is above 0 by two standard errors."""
    return gain[0] > 2 * gain[1]


def verdict(table: dict[str, dict], metric: str, takes_blend: bool) -> str:
    """A sentence on the blend."""
    gain, error = table["blend"][f"{metric}_gain"]
    words = metric.replace("_", " ")
    measured = f"the blend gains {gain:+.4f} ± {error:.4f} in {words} over the average, cross-fitted"
    return f"take the blend: {measured}" if takes_blend else f"take the average: {measured}, less than two errors"


def decision_verdict(gain: tuple[float, float], metric: str, offsets: np.ndarray, first: Logits) -> str:
    """A sentence on the tuned decision. first: a run's logits, whose labels have names."""
    measured = f"the tuned one gains {gain[0]:+.4f} ± {gain[1]:.4f} in {metric.replace('_', ' ')}, cross-fitted"
    if not beats(gain):
        return f"leave the decision as it is: {measured}, less than two errors"
    if first.label_names.kind == "several":
        thresholds = 1 / (1 + np.exp(offsets))
        named = ", ".join(f"{name} {share:.3f}" for name, share in zip(first.label_names, thresholds, strict=True))
        return f"take the tuned decision: {measured}; probabilities above which labels are given: {named}"
    named = ", ".join(f"{name} {offset:+.3f}" for name, offset in zip(first.label_names, offsets, strict=True))
    return f"take the tuned decision: {measured}; added to the log probabilities: {named}"


def command_line(args: Any, weights: np.ndarray) -> str:
    """How predict.py gives a new file's logits the same weights."""
    runs = " ".join(map(str, args.runs))
    shares = " ".join(f"{weight:.4f}" for weight in weights)
    return f"for another file: python {args.task}/predict.py --run_dir {runs} --weights {shares} --test_file FILE"


def lines_of(table: dict[str, dict[str, Any]], markdown: bool = False) -> list[str]:
    """The table as lines; gains beside their scores."""
    keys = [key for key in next(iter(table.values())) if not key.endswith("_gain")]
    header = ["", *(f"{key.replace('_', ' ')}, better than the average by" for key in keys)]
    rows = []
    for name, values in table.items():
        cells = []
        for key in keys:
            gain = values.get(f"{key}_gain")
            cells.append(f"{values[key]:.4f}" + (f", {gain[0]:+.4f} ± {gain[1]:.4f}" if gain else ""))
        rows.append([name, *cells])
    if markdown:
        from common.report.run_page import table as markdown_table

        return markdown_table(header, rows)
    shown = [[*map(told, header)], *rows]
    widths = [max(map(columns_of, column)) for column in zip(*shown, strict=True)]
    return ["  ".join(map(padded, row, widths)).rstrip() for row in shown]


if __name__ == "__main__":
    run_main(main, again="start the same command again")
