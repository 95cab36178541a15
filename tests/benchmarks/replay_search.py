"""Replay methods of search on recorded learning rate x epoch tables: how many epochs each trains until it recommends a
good cell.

    python tests/benchmarks/replay_search.py                     # the report half of the tables
    python tests/benchmarks/replay_search.py --half design

Every method starts from the same 30 random cells. On our own tables it sees the scores of one seed, and what it
recommends is scored on the mean of the others; on the source's tables, which have one seed, on that seed. Regret: the
best cell's score minus that of the recommended cell, in points. An epoch that was trained before costs nothing again.
`whole grid` is what a method gets that trains every cell on the one seed and recommends the best, or the top of the
smoothed hill: the noise that no search can undercut.
"""

import argparse
import math
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd

from common.search.casual import DEPTH, Hill, Prior, next_step
from common.search.trials import make_pruner, make_sampler

TABLES = Path(__file__).parent / "tables"
SOURCE = ["source_friends", "source_nsmc"]
DESIGN = ["friends_scratch", "nsmc_e5_1", "nsmc_scratch_few", "friends_minilm1"]
REPORT = ["nsmc_scratch", "friends_scratch_few", "nsmc_e5_2", "friends_minilm2"]
STARTS = 30
Cell = tuple[int, int]  # row of the rate, column of the epoch


class Table:
    """Scores (S, R, E) in points, of S seeds, R learning rates (ascending) and E epochs."""

    def __init__(self, path: Path):
        self.name = path.stem
        rows = pd.read_csv(path)
        wide = rows.pivot_table(index=["seed", "learning_rate"], columns="epoch", values="accuracy")
        self.rates = np.array(sorted(set(rows["learning_rate"])))
        self.scores = np.stack([wide.loc[seed].sort_index().to_numpy() for seed in sorted(set(rows["seed"]))]) * 100

    def truth(self, seed: int) -> np.ndarray:
        """(R, E) what a recommendation is scored on when the search sees this seed."""
        return np.delete(self.scores, seed, axis=0).mean(axis=0) if len(self.scores) > 1 else self.scores[0]


def casual(scores: np.ndarray, rates: np.ndarray, start: Cell, number: int) -> Iterator[tuple[Cell, Cell]]:
    arms, prior = [{"learning_rate": rate} for rate in rates], Prior(depth=100 * DEPTH["accuracy"])
    curves: dict[int, list[float]] = {}
    while (step := next_step(arms, scores.shape[1], curves, start[0], (), prior)) is not None:
        curves[step.arm] = scores[step.arm, : step.target].tolist()
        hill = Hill(arms, scores.shape[1], curves, prior)
        yield (step.arm, step.target - 1), hill.best()


def best_seen(scores: np.ndarray, cells: Iterator[Cell]) -> Iterator[tuple[Cell, Cell]]:
    """What the other methods recommend: the best cell that they have trained."""
    best = None
    for cell in cells:
        best = cell if best is None or scores[cell] > scores[best] else best
        yield cell, best


def optuna_method(sampler: str, pruner: str) -> Callable:
    def method(scores: np.ndarray, rates: np.ndarray, start: Cell, number: int) -> Iterator[Cell]:
        study = optuna.create_study(
            study_name=str(number),  # Hyperband deals out its brackets by it
            direction="maximize",
            sampler=make_sampler(sampler, number),
            pruner=make_pruner(pruner, scores.shape[1], None),
        )
        study.enqueue_trial({"learning_rate": rates[start[0]]})
        for _ in range(20 * len(rates)):
            trial = study.ask()
            row = int(
                np.abs(np.log(rates / trial.suggest_float("learning_rate", rates[0], rates[-1], log=True))).argmin()
            )
            state = optuna.trial.TrialState.PRUNED
            for column in range(scores.shape[1]):
                yield row, column
                trial.report(scores[row, column], column + 1)
                if trial.should_prune():
                    break
            else:
                state = optuna.trial.TrialState.COMPLETE
            study.tell(trial, scores[row].max() if state == optuna.trial.TrialState.COMPLETE else None, state=state)

    return lambda *given: best_seen(given[0], method(*given))


def halving(eta: int) -> Callable:
    """Synchronous successive halving (Jamieson and Talwalkar, arXiv 1502.07943): all rates, then 1 / eta of them eta
    times as long."""

    def method(scores: np.ndarray, rates: np.ndarray, start: Cell, number: int) -> Iterator[Cell]:
        rows, epochs, trained = list(np.random.default_rng(number).permutation(len(rates))), 1, 0
        while True:
            for row in rows:
                yield from ((row, column) for column in range(trained, epochs))
            if epochs == scores.shape[1]:
                return
            rows = sorted(rows, key=lambda row: -scores[row, :epochs].max())[: max(1, len(rows) // eta)]
            trained, epochs = epochs, min(epochs * eta, scores.shape[1])

    return lambda *given: best_seen(given[0], method(*given))


def descent(scores: np.ndarray, rates: np.ndarray, start: Cell, number: int) -> Iterator[tuple[Cell, Cell]]:
    """The source's walk: to the best of four neighbours until none is better. Epoch e of a rate costs its first e
    epochs."""

    def method() -> Iterator[Cell]:
        here = start
        yield from ((here[0], column) for column in range(here[1] + 1))
        while True:
            around = [(here[0] + dr, here[1] + dc) for dr, dc in ((-1, 0), (1, 0), (0, -1), (0, 1))]
            around = [
                (row, column) for row, column in around if 0 <= row < scores.shape[0] and 0 <= column < scores.shape[1]
            ]
            for row, column in around:
                yield from ((row, c) for c in range(column + 1))
            best = max(around, key=lambda cell: scores[cell])
            if scores[best] <= scores[here]:
                return
            here = best

    return best_seen(scores, method())


def casual_best_seen(*given: Any) -> Iterator[tuple[Cell, Cell]]:
    """Casual's cells without its smoothing: the best of those that it trained."""
    return best_seen(given[0], (cell for cell, _ in casual(*given)))


METHODS: dict[str, Callable] = {
    "casual": casual,
    "casual's cells, best seen": casual_best_seen,
    "tpe + hyperband": optuna_method("tpe", "hyperband"),
    "tpe": optuna_method("tpe", "none"),
    "random + hyperband": optuna_method("random", "hyperband"),
    "ga + hyperband": optuna_method("ga", "hyperband"),
    "cmaes + hyperband": optuna_method("cmaes", "hyperband"),
    "halving, eta 2": halving(2),
    "halving, eta 3": halving(3),
    "four-neighbour descent": descent,
}


NO_STOP = [
    name for name in METHODS if "hyperband" in name or name == "tpe"
]  # they go on until a budget that the user sets


def replay(method: Callable, table: Table, seed: int, start: Cell, number: int) -> list[float]:
    """Regret after each trained epoch of one search, until its own stop or until as many epochs as the grid has."""
    scores, truth = table.scores[seed], table.truth(seed)
    trained: set[Cell] = set()
    regrets: list[float] = []
    for cell, best in method(scores, table.rates, start, number):
        regret = float(truth.max() - truth[best])
        if cell in trained:
            regrets[-1] = regret
        else:
            trained.add(cell)
            regrets.append(regret)
        if len(trained) == scores.size:
            break
    return regrets


def top(table: Table, seed: int) -> Cell:
    return np.unravel_index(table.scores[seed].argmax(), table.scores[seed].shape)


def smooth_top(table: Table, seed: int) -> Cell:
    arms, curves = [{"learning_rate": rate} for rate in table.rates], dict(enumerate(table.scores[seed].tolist()))
    return Hill(arms, table.scores.shape[2], curves, Prior(depth=100 * DEPTH["accuracy"])).best()


def until(regrets: list[float], points: float) -> float:
    """Epochs trained until the recommendation is within so many points; infinite where it never is."""
    return next((epochs for epochs, regret in enumerate(regrets, start=1) if regret <= points + 1e-9), math.inf)


def interval(values: np.ndarray, statistic: Callable, generator: np.random.Generator) -> tuple[float, float, float]:
    """A statistic of (T, N) values of T tables, with a 95 % bootstrap interval: tables are drawn anew, then their
    replays."""
    drawn = []
    for _ in range(1000):
        tables = generator.integers(len(values), size=len(values))
        replays = generator.integers(values.shape[1], size=values.shape)
        drawn.append(statistic(np.take_along_axis(values[tables], replays, axis=1)))
    low, high = np.quantile(drawn, [0.025, 0.975], method="nearest")
    return float(statistic(values)), float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--half", choices=["design", "report", "source", "all"], default="report", help="which tables (default: report)"
    )
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    args = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore")  # Optuna's, of experimental features
    halves = {"design": DESIGN, "report": REPORT, "source": SOURCE, "all": DESIGN + REPORT + SOURCE}
    tables = [Table(TABLES / f"{name}.csv") for name in halves[args.half]]
    results: dict[str, list[list[tuple]]] = {name: [] for name in args.methods}  # method -> table -> replay
    for table in tables:
        seeds, rates, epochs = table.scores.shape
        size = rates * epochs
        best, smoothed = (
            np.mean([table.truth(s).max() - table.truth(s)[cell(table, s)] for s in range(seeds)])
            for cell in (top, smooth_top)
        )
        print(
            f"\n{table.name}: {rates} rates x {epochs} epochs, {seeds} seeds; whole grid: regret {best:.2f}, smoothed "
            f"{smoothed:.2f}"
        )
        generator = np.random.default_rng(0)
        starts = [(int(generator.integers(rates)), int(generator.integers(epochs))) for _ in range(STARTS)]
        for name in args.methods:
            rows = []
            for number, start in enumerate(starts):
                regrets = replay(METHODS[name], table, number % seeds, start, number)
                quarter = regrets[min(len(regrets), math.ceil(size / 4)) - 1]
                rows.append(
                    (until(regrets, 0.2) / size, until(regrets, 0.5) / size, len(regrets) / size, regrets[-1], quarter)
                )
            results[name].append(rows)
            a = np.array(rows)
            stop = (
                ""
                if name in NO_STOP
                else f"; stops at {np.mean(a[:, 2]):.2f}, {np.median(a[:, 3]):.2f}, most {a[:, 3].max():.2f}"
            )
            print(
                f"{name:27}to 0.2: {np.median(a[:, 0]):5.2f}, to 0.5: {np.median(a[:, 1]):5.2f}; "
                f"at a quarter {np.median(a[:, 4]):.2f}, most {a[:, 4].max():.2f}{stop}"
            )
    print(
        f"\nAll {len(tables)} tables. Epochs are shares of the grid's, regrets points; 95 % bootstrap intervals over "
        "tables and replays.\n"
    )
    print(
        "| method | to 0.2, median | to 0.5, median | at a quarter, median | most | own stop, mean | regret there, "
        "median | most |"
    )
    print("|---|---|---|---|---|---|---|---|")
    statistics = (np.median, np.median, np.median, np.max, np.mean, np.median, np.max)
    for name, replays in results.items():
        values = np.array(replays)[:, :, [0, 1, 4, 4, 2, 3, 3]]
        cells = [
            interval(values[:, :, i], statistic, np.random.default_rng(0)) for i, statistic in enumerate(statistics)
        ]
        written = [f"{value:.2f} ({low:.2f} to {high:.2f})" for value, low, high in cells]
        print(f"| {name} | " + " | ".join(written[:4] + ["–"] * 3 if name in NO_STOP else written) + " |")


if __name__ == "__main__":
    main()
