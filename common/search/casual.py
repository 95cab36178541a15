"""Casual Grid Search's choice: which learning rate to train one more epoch, and when to stop.

    sampler = CasualSampler(arms, max_epochs, start=3)
    study = optuna.create_study(direction="maximize", sampler=sampler, pruner=CasualPruner(sampler))

The idea of the source paper (J. Park et al., "Casual Grid Search Method for Time-efficient Bert Tuning") is that
learning rate x epochs is one smooth hill, so that a few cells of the grid tell where its top is. The paper walks from
cell to better neighbour, which halts on the noise of single cells. Here a Gaussian process smooths the hill over
logarithms of rate and epochs, and the next epoch goes to the run whose later epochs promise most improvement for their
cost; runs are paused and continued (freeze-thaw: Swersky et al., arXiv 1406.3896; expected improvement: Jones et al.,
1998).
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState
from scipy.stats import norm
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

Arm = dict[str, float]  # field -> value; one training run scores all epochs of one arm


@dataclass(frozen=True)
class Prior:
    """What is known of the hill before a search; chosen on the design half of tests/benchmarks/tables (see
    replay_search.py).

    length: over which the score changes: of ln(rate x epochs), of ln(rate), of another axis whose values span 0 to 1.
    depth: scores further than this below the best count as this far below. height, noise: standard deviations, in units
    of depth. gain: the search stops where no run promises this expected improvement, in units of depth.
    """

    length: tuple[float, float, float] = (1.4, 1.5, 0.5)
    depth: float = 0.08
    height: float = 0.5
    noise: float = 0.05
    gain: float = 0.056


DEPTH = {"accuracy": 0.08, "macro_f1": 0.08, "log_loss": 0.16}  # Prior.depth by metric


@dataclass(frozen=True)
class Step:
    """What to do next: train `arm` until `target` epochs are done."""

    arm: int
    target: int


class Hill:
    """The smoothed score of arms x epochs.

    arms: A of them. curves: arm number -> scores of its first epochs, higher is better. mean, deviation: (A, E)
    posterior of the score without noise; column e is epoch e + 1.
    """

    def __init__(self, arms: Sequence[Arm], max_epochs: int, curves: Mapping[int, Sequence[float]], prior: Prior):
        self.arms = arms
        points = coordinates(arms, max_epochs)
        rows = np.concatenate([points[arm, : len(curve)] for arm, curve in curves.items()])
        scores = np.concatenate([np.asarray(curve, dtype=np.float64) for curve in curves.values()])
        scaled = np.maximum((scores - scores.max()) / prior.depth, -1)
        kernel = ConstantKernel(prior.height**2) * RBF(prior.length[: points.shape[2]]) + WhiteKernel(prior.noise**2)
        offset = -0.4  # between the top and what counts as bad
        process = GaussianProcessRegressor(kernel, optimizer=None).fit(rows, scaled - offset)
        mean, deviation = process.predict(points.reshape(-1, points.shape[2]), return_std=True)
        deviation = np.sqrt(np.maximum(deviation**2 - prior.noise**2, 1e-12))  # of the score without noise
        self.mean = (mean + offset).reshape(points.shape[:2])
        self.deviation = deviation.reshape(points.shape[:2])
        self.done = np.array([len(curves.get(arm, ())) for arm in range(len(arms))])
        self.trained = np.arange(max_epochs) < self.done[:, None]

    def best(self) -> tuple[int, int]:
        """(arm, column) of the trained cell with the highest smoothed score."""
        arm, column = np.unravel_index(np.where(self.trained, self.mean, -np.inf).argmax(), self.mean.shape)
        return int(arm), int(column)


def coordinates(arms: Sequence[Arm], max_epochs: int) -> np.ndarray:
    """(A, E, D) places of the cells: ln(rate x epochs), ln(rate), and the other axis, if there is one, from 0 to 1.

    The top is a ridge: half the rate takes about twice the epochs. Along it scores change slowly, across it fast.
    """
    rates = [math.log(arm["learning_rate"]) for arm in arms]
    others = []
    for name in arms[0]:
        if name != "learning_rate":
            values = np.array([arm[name] for arm in arms], dtype=np.float64)
            values = np.log(values) if values.min() > 0 else values
            others.append((values - values.min()) / np.ptp(values))
    epochs = np.log(np.arange(1, max_epochs + 1))
    points = [
        [[rate + epoch, rate, *(other[a] for other in others)] for epoch in epochs] for a, rate in enumerate(rates)
    ]
    return np.array(points)


def next_step(
    arms: Sequence[Arm],
    max_epochs: int,
    curves: Mapping[int, Sequence[float]],
    start: int,
    closed: Collection[int],
    prior: Prior,
) -> Step | None:
    """The next epoch to train; None where nothing promises enough.

    start: the arm of the first epoch. closed: arms that cannot be trained now. The step goes to the arm of the cell
    whose expected improvement over the best trained cell is highest per epoch that it takes to get there. Where no cell
    promises enough, a best cell that is its arm's last gets the epoch after it, so that no search ends on a rise.
    """
    if len(set(closed)) == len(arms):
        return None
    if not curves:  # nothing is known yet; beside another worker, the nearest arm that it does not train
        return Step(min((arm for arm in range(len(arms)) if arm not in closed), key=lambda arm: abs(arm - start)), 1)
    hill = Hill(arms, max_epochs, curves, prior)
    best = hill.mean[hill.best()]
    z = (hill.mean - best) / hill.deviation
    improvement = hill.deviation * (z * norm.cdf(z) + norm.pdf(z))
    cost = np.arange(1, max_epochs + 1) - hill.done[:, None]
    promise = np.where((cost > 0) & (improvement > prior.gain), improvement / np.maximum(cost, 1), 0.0)
    promise[list(closed)] = 0.0
    arm = int(promise.max(axis=1).argmax())
    if not promise[arm].any():
        arm, column = hill.best()
        if arm in closed or column + 1 < hill.done[arm] or hill.done[arm] == max_epochs:
            return None
    return Step(arm, int(hill.done[arm]) + 1)


class CasualSampler(BaseSampler):
    """Optuna's side of next_step(): a new trial gets the arm that is next.

    arms: the grid without the epochs. start: number of the arm to begin with. It needs ask and tell, as in
    trials.py: a paused trial stays RUNNING, and next_step() says when to go on with it.
    """

    def __init__(self, arms: Sequence[Arm], max_epochs: int, start: int, prior: Prior):
        self.arms = arms
        self.max_epochs = max_epochs
        self.start = start
        self.prior = prior

    def curves(self, study: Study) -> tuple[dict[int, list[float]], dict[int, FrozenTrial]]:
        """Scores so far of each arm, higher is better, and its trial."""
        sign = 1 if study.direction == StudyDirection.MAXIMIZE else -1
        made = [trial for trial in study.get_trials(deepcopy=False) if trial.params and trial.state != TrialState.FAIL]
        trials = {self.arms.index(trial.params): trial for trial in made}
        curves = {arm: [sign * score for score in trial.intermediate_values.values()] for arm, trial in trials.items()}
        return {arm: curve for arm, curve in curves.items() if curve}, trials

    def next_step(self, study: Study, open_trials: Collection[int]) -> Step | None:
        """What to train next; of the arms that have a trial only those whose numbers are in open_trials."""
        curves, trials = self.curves(study)
        closed = [arm for arm, trial in trials.items() if trial.number not in open_trials]
        return next_step(self.arms, self.max_epochs, curves, self.start, closed, self.prior)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        rates = [arm["learning_rate"] for arm in self.arms]
        values = {name: sorted({arm[name] for arm in self.arms}) for name in self.arms[0] if name != "learning_rate"}
        return {"learning_rate": FloatDistribution(min(rates), max(rates), log=True)} | {
            name: CategoricalDistribution(v) for name, v in values.items()
        }

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self.arms[self.next_step(study, open_trials=()).arm]

    def sample_independent(self, study: Study, trial: FrozenTrial, name: str, distribution: BaseDistribution) -> Any:
        return RandomSampler().sample_independent(study, trial, name, distribution)


class CasualPruner(BasePruner):
    """Says of a trial that has reported whether another run promises more."""

    def __init__(self, sampler: CasualSampler):
        self.sampler = sampler

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        running = {t.number for t in study.get_trials(deepcopy=False) if t.state == TrialState.RUNNING}
        step = self.sampler.next_step(study, running)
        return step is None or self.sampler.arms[step.arm] != trial.params
