"""Casual Grid Search: which settings, and which learning rate x epochs, win on a task folder's fast preset.

python -m common.search friends --config friends/configs/search.yaml
# options of train.py, for every trial
python -m common.search friends --train_file T.json --eval_file D.json --max_train_samples 2000
# Optuna's own, to compare
python -m common.search friends --sampler tpe --pruner hyperband --output_dir runs/friends/tpe
python -m common.search friends --recommend --train_file T.json --records runs/*/*  # where to start, without training

The same command goes on after a kill, and works beside others on the same search: no finished epoch is trained twice.
"""

import argparse  # PYTHON_ARGCOMPLETE_OK
import time
from pathlib import Path

from common.console import ArgumentParser, InputError, print_once, run_main
from common.guards.tasks import check_task_folder
from common.options.checks import MAX_SEED, check_number
from common.search.space import Space, check_options, read_space

SAMPLERS = ("casual", "tpe", "random", "grid", "ga", "cmaes")
PRUNERS = ("casual", "hyperband", "halving", "median", "none")


def main() -> None:
    parser = ArgumentParser("python -m common.search", __doc__)
    parser.add_argument("task", type=Path, help="task folder")
    parser.add_argument(
        "--config", type=Path, help="what to search; default: <task>/configs/search.yaml; with --recommend a preset"
    )
    parser.add_argument("--output_dir", type=Path, help="default: runs/<task>/search")
    parser.add_argument("--storage", help="database URL for Optuna; default: <output_dir>/journal.log")
    parser.add_argument(
        "--sampler", choices=SAMPLERS, default="casual", help="of the coupled parameters; default: casual"
    )
    parser.add_argument("--pruner", choices=PRUNERS, help="default: casual with casual, none with grid, else hyperband")
    parser.add_argument("--sampler_seed", type=int, default=0, help="of Optuna's samplers; default: 0")
    parser.add_argument(
        "--max_epochs",
        type=int,
        help="coupled search, in all; default: its own stop, with Optuna's a quarter of the grid",
    )
    parser.add_argument(
        "--recommend", action="store_true", help="propose learning rate, epochs, batch and length, train nothing"
    )
    parser.add_argument("--records", type=Path, nargs="+", default=[], help="with --recommend: folders of earlier runs")
    args, options = parser.parse_known_args()
    check_task_folder(args.task)
    if args.max_epochs is not None and args.max_epochs < 1:
        raise InputError(f"max_epochs: {args.max_epochs} is not 1 or more")
    check_number("sampler_seed", args.sampler_seed, 0, MAX_SEED - 1_000_000)
    if args.recommend:
        from common.search.recommend import recommend

        recommend(args.task, args.config, args.records, options)
        return
    args.pruner = args.pruner or {"casual": "casual", "grid": "none"}.get(args.sampler, "hyperband")
    if (args.sampler == "casual") != (args.pruner == "casual"):
        raise InputError(f"command line: --sampler {args.sampler} with --pruner {args.pruner}: casual goes with casual")
    space = read_space(args.config or args.task / "configs" / "search.yaml")
    defaults = check_options(args.task, space, options)
    run_stages(args, space, defaults, options)


def run_stages(args: argparse.Namespace, space: Space, defaults: tuple, options: list[str]) -> None:
    """The three stages, beside other workers, and the report after each step."""
    from common.search.report import write_search_report
    from common.search.trials import WAIT, Search

    search = Search(args, space, defaults, options)
    print_once(f"search folder {search.dir}")

    # 1. Independent parameters: one at a time, by the fast preset's whole run; each winner is fixed before the next.
    setting = {name: values[0] for name, values in space.independent.items()}
    for name, values in space.independent.items():
        search.train_all("independent", [{**setting, name: value} for value in values])
        setting[name] = search.winner(setting, name)

    # 2. Coupled parameters: long runs at a constant rate, one epoch or more at a time.
    while (trial := search.next_trial(setting)) != "done":
        if trial is None:
            time.sleep(WAIT)
        else:
            search.train_while_promising(trial, setting)
            write_search_report(search, setting)

    # 3. Finalists: with their own decay, on every seed.
    finalists = [{**setting, **cell, "seed": seed} for cell in search.best_cells() for seed in space.seeds]
    search.train_all("finalists", finalists)
    write_search_report(search, setting)
    final = search.dir / "final.yaml"
    print_once(f"done: {search.dir / 'report.md'}; the winner on the slow preset: --config {final}")


if __name__ == "__main__":
    run_main(main, again="start the same command to go on")
