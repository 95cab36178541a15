"""Optuna's samplers and pruners by the names of `python -m common.search`."""

import optuna

from common.casual import CasualPruner, CasualSampler


def make_sampler(name: str, seed: int) -> optuna.samplers.BaseSampler:
    """One of Optuna's own. casual and grid are not among them: common.search_trials takes their cells in order."""
    samplers = optuna.samplers
    return {
        "tpe": lambda: samplers.TPESampler(seed=seed),
        "random": lambda: samplers.RandomSampler(seed=seed),
        "ga": lambda: samplers.NSGAIISampler(population_size=8, seed=seed),
        "cmaes": lambda: samplers.CmaEsSampler(seed=seed),
    }[name]()


def make_pruner(name: str, max_epochs: int, casual: CasualSampler) -> optuna.pruners.BasePruner:
    pruners = optuna.pruners
    return {
        "casual": lambda: CasualPruner(casual),
        "hyperband": lambda: pruners.HyperbandPruner(min_resource=1, max_resource=max_epochs, reduction_factor=3),
        "halving": lambda: pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3),
        "median": lambda: pruners.MedianPruner(n_startup_trials=2),
        "none": pruners.NopPruner,
    }[name]()
