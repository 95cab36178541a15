"""Leave one table out: what common.search.recommend's starting point loses against the best cell, beside the literature's
defaults.

    python tests/benchmarks/start_regret.py

For each of our own tables the other tables are the records (their best cell by the mean of the seeds). The proposed
learning rate and epochs count as the nearest cell of the table, in logarithms; the regret is the best cell's mean score
minus that cell's, in points.
"""

import json
import sys
from pathlib import Path

import numpy as np

from common.search.recommend import DEFAULTS, Record, propose

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks.replay_search import DESIGN, REPORT, TABLES, Table

BATCH = 32.0  # of all recorded tables


def main() -> None:
    tables = {name: Table(TABLES / f"{name}.csv") for name in DESIGN + REPORT}
    records = {}
    for name, table in tables.items():
        mean = table.scores.mean(axis=0)
        row, column = np.unravel_index(mean.argmax(), mean.shape)
        best = {
            "learning_rate": table.rates[row],
            "num_train_epochs": column + 1.0,
            "per_device_train_batch_size": BATCH,
        }
        records[name] = Record(name, json.loads((TABLES / f"{name}.json").read_text()), best)
    print("| table | best cell | proposed | regret | the literature's | regret |\n|---|---|---|---|---|---|")
    regrets = []
    for name, table in tables.items():
        proposed, _ = propose(records[name].features, [record for other, record in records.items() if other != name])
        losses = [regret(table, choice) for choice in (proposed, DEFAULTS)]
        cells = [
            f"{c['learning_rate']:.1e} x {c['num_train_epochs']:.0f}"
            for c in (records[name].settings, proposed, DEFAULTS)
        ]
        print(f"| {name} | {cells[0]} | {cells[1]} | {losses[0]:.2f} | {cells[2]} | {losses[1]:.2f} |")
        regrets.append(losses)
    mean, error = np.mean(regrets, axis=0), np.std(regrets, axis=0, ddof=1) / np.sqrt(len(regrets))
    print(f"| mean ± standard error | | | {mean[0]:.2f} ± {error[0]:.2f} | | {mean[1]:.2f} ± {error[1]:.2f} |")


def regret(table: Table, choice: dict[str, float]) -> float:
    mean = table.scores.mean(axis=0)
    row = int(np.abs(np.log(table.rates / choice["learning_rate"])).argmin())
    column = min(max(round(choice["num_train_epochs"]), 1), mean.shape[1]) - 1
    return float(mean.max() - mean[row, column])


if __name__ == "__main__":
    main()
