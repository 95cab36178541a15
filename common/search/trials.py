"""The trials of a search: three Optuna studies, a run folder per trial.

A trial that is not finished and that no living worker trains is taken up again where its last checkpoint stands.
"""

import math
import time
import uuid
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from common.console import InputError, print_once
from common.files import read_json, write_json
from common.guards.inputs import data_sha256, weights_fingerprints
from common.guards.lock import share
from common.logits import Logits
from common.options.args import resolved_config
from common.run import FREE
from common.search.casual import DEPTH, CasualPruner, CasualSampler, Hill, Prior
from common.search.differences import paired_difference
from common.search.journal import mend_journal
from common.search.runs import Runs
from common.search.space import EPOCHS, Space
from common.search.workers import Workers

STAGES = ("independent", "coupled", "finalists")
WAIT = 1.0  # seconds between two looks at what other workers do


class Search:
    """One process's view of a search. dir holds search.json, journal.log, trials/ and what search_report writes."""

    def __init__(self, args: Namespace, space: Space, defaults: tuple, options: list[str]):
        self.space = space
        self.task = args.task.resolve().name
        self.sampler_name = args.sampler
        self.prunes = args.pruner != "none"
        grid = len(space.arms) * space.max_epochs
        self.max_epochs = args.max_epochs or (grid if args.sampler in ("casual", "grid") else math.ceil(grid / 4))
        self.dir = args.output_dir or Path("runs") / self.task / "search"
        made = {
            "sampler": args.sampler,
            "pruner": args.pruner,
            "sampler_seed": args.sampler_seed,
            "storage": args.storage,
        }
        made |= {"config": space.raw, "metric": space.metric} | described_runs(*defaults)
        self.compare(made)
        share(self.dir)
        (self.dir / "trials").mkdir(parents=True, exist_ok=True)
        self.workers = Workers(self.dir)
        self.differences: dict[tuple[int, int], tuple[float, float]] = {}
        self.runs = Runs(self.dir / "trials", args.task, space, defaults, options, self.workers.lock)
        with self.workers.locked():
            self.compare(made)
            path = self.dir / "search.json"
            # a name of its own: searches can share a database, and a folder can be moved
            study_name = read_json(path)["study_name"] if path.exists() else f"{self.task}-{uuid.uuid4().hex[:8]}"
            write_json(path, {**made, "study_name": study_name})
            optuna.logging.set_verbosity(optuna.logging.WARNING)
            self.casual = CasualSampler(
                space.arms, space.max_epochs, self.start(), Prior(depth=DEPTH.get(space.metric, DEPTH["accuracy"]))
            )
            self.sampler_seed = args.sampler_seed
            mend_journal(self.dir / "journal.log")
            self.studies = {
                stage: optuna.create_study(
                    storage=args.storage or JournalStorage(JournalFileBackend(str(self.dir / "journal.log"))),
                    study_name=f"{study_name}-{stage}",
                    direction="maximize" if space.sign > 0 else "minimize",
                    load_if_exists=True,
                    sampler=self.casual,
                    pruner=make_pruner(args.pruner, space.max_epochs, self.casual),
                )
                for stage in STAGES
            }
        self.distributions = {
            **{
                name: CategoricalDistribution(values)
                for name, values in {**space.independent, **space.axes, "seed": space.seeds}.items()
            },
            "learning_rate": FloatDistribution(
                space.axes["learning_rate"][0], space.axes["learning_rate"][-1], log=True
            ),
            EPOCHS: IntDistribution(1, space.max_epochs),
        }

    def compare(self, made: dict[str, Any]) -> None:
        """Raise InputError where the folder holds another search, or something else."""
        path = self.dir / "search.json"
        if not path.exists():
            if self.dir.is_dir() and any(
                p.name not in ("trials", "workers", "lock") and p.name[0] != "." for p in self.dir.iterdir()
            ):
                raise InputError(f"{self.dir}: is not empty and holds no search; name another --output_dir")
            return
        before = read_json(path)
        for key, value in made.items():
            if before.get(key, None if key != "metric" else value) != value:  # which older searches do not say
                keys = [k for k in value if value[k] != before.get(key, {}).get(k)] if isinstance(value, dict) else []
                changed = f"{key} ({', '.join(keys)})" if keys else key
                raise InputError(
                    f"{path}: the search was started with other {changed}; give the same, or another --output_dir"
                )

    # Whole runs: sweeps and finalists

    def train_all(self, stage: str, jobs: list[dict[str, Any]]) -> None:
        """Train every job (field -> value) that is not done, beside other workers; returns when all are."""
        while True:
            with self.workers.locked():
                trial, busy = self.next_job(stage, jobs)
            if trial is not None:
                self.train_job(stage, trial)
            elif busy:
                time.sleep(WAIT)
            else:
                return

    def next_job(self, stage: str, jobs: list[dict[str, Any]]) -> tuple[Trial | None, bool]:
        """A job for this process, claimed; and whether other processes work on some."""
        study = self.studies[stage]
        busy = False
        for job in jobs:
            trial = self.find(stage, job)
            if trial is None:
                distributions = {name: self.distributions[name] for name in job}
                new = create_trial(
                    state=TrialState.RUNNING,
                    params=job,
                    distributions=distributions,
                    user_attrs={"worker": self.workers.me},
                )
                study.add_trial(new)
                trial = self.find(stage, job)
            if trial.state == TrialState.RUNNING:
                if not self.workers.is_busy(trial.user_attrs["worker"]):
                    return self.claimed(stage, trial.number), busy
                busy = True
        return None, busy

    def trials(self, stage: str) -> list[FrozenTrial]:
        return [trial for trial in self.studies[stage].get_trials(deepcopy=False) if trial.state != TrialState.FAIL]

    def scored(self) -> list[FrozenTrial]:
        """The trials of the coupled search with a score; of equal ones, which samplers can draw, the longest."""
        longest: dict[tuple, FrozenTrial] = {}
        for trial in sorted(self.trials("coupled"), key=lambda trial: len(trial.intermediate_values)):
            if trial.intermediate_values:
                longest[tuple(trial.params[name] for name in self.space.axes)] = trial
        return sorted(longest.values(), key=lambda trial: trial.number)

    def claimed(self, stage: str, number: int) -> Trial:
        """The trial, which is from now on this process's."""
        study = self.studies[stage]
        trial = live(study, study.get_trials(deepcopy=False)[number])
        trial.set_user_attr("worker", self.workers.me)
        return trial

    def find(self, stage: str, job: dict[str, Any]) -> FrozenTrial | None:
        return next((trial for trial in self.trials(stage) if trial.params == job), None)

    def train_job(self, stage: str, trial: Trial) -> None:
        began = time.perf_counter()
        score = self.runs.whole(stage, trial.number, trial.params)
        print_once(f"{describe(trial.params)}: {self.space.metric} {score:.4f}")
        with self.workers.locked():
            trial.set_user_attr("seconds", time.perf_counter() - began)
            self.studies[stage].tell(trial.number, score)
        if stage == "independent":
            self.runs.drop_models(stage, trial.number)

    def winner(self, setting: dict[str, Any], name: str) -> Any:
        """The value of an independent parameter: the best, where it beats the first by more than the standard error of
        their difference."""
        values = self.space.independent[name]
        trials = [self.find("independent", {**setting, name: value}) for value in values]
        best = 0
        for i in range(1, len(values)):
            difference, error = self.difference(trials[i], trials[0])
            if difference > error and self.space.sign * (trials[i].value - trials[best].value) > 0:
                best = i
        return values[best]

    def difference(self, a: FrozenTrial, b: FrozenTrial) -> tuple[float, float]:
        """How much better a's score is than b's on the same rows, and the standard error of this."""
        key = a.number, b.number
        if key not in self.differences:  # the report of every epoch asks for them
            paths = [self.runs.folder("independent", number) / "eval_logits.npz" for number in key]
            if all(path.exists() for path in paths):
                self.differences[key] = paired_difference(self.space.metric, *map(Logits.load, paths))
            else:  # one diverged
                self.differences[key] = self.space.sign * (a.value - b.value), 0.0
        return self.differences[key]

    # Partial runs: the coupled search

    def next_trial(self, setting: dict[str, Any]) -> Trial | str | None:
        """What to train next, claimed; None where only what other workers do can tell; "done" at the end."""
        study = self.studies["coupled"]
        with self.workers.locked():
            for trial in study.get_trials(deepcopy=False):
                if trial.state == TrialState.RUNNING and "worker" not in trial.user_attrs:  # killed while it was made
                    study.tell(trial.number, state=TrialState.FAIL)
            trials = self.trials("coupled")
            running = [trial for trial in trials if trial.state == TrialState.RUNNING]
            free = {trial.number: trial for trial in running if not self.workers.is_busy(trial.user_attrs["worker"])}
            # a worker died: before its epoch was reported, or, where trials do not pause, before the pruner was asked
            pauses = self.sampler_name == "casual"
            interrupted = [
                n
                for n, trial in free.items()
                if not pauses or len(trial.intermediate_values) < trial.user_attrs["target"]
            ]
            spent = sum(trial.user_attrs["target"] for trial in trials) >= self.max_epochs
            if interrupted:
                number = interrupted[0]
            else:
                number = None if spent else self.decide(set(free), setting)
            if number is not None:
                return self.claimed("coupled", number)
            if len(free) < len(running):
                return None
            if not spent:  # else a larger max_epochs goes on with those that pause
                for trial in running:
                    self.close(trial)
            return "done"

    def decide(self, free: set[int], setting: dict[str, Any]) -> int | None:
        """The number of the trial to train next, with its user_attrs["target"]: a paused one or a new one; None:
        nothing is worth it."""
        study = self.studies["coupled"]
        if self.sampler_name == "casual":
            step = self.casual.next_step(study, free)
            if step is None:
                return None
            paused = self.find("coupled", self.casual.arms[step.arm])
            if paused is not None:
                live(study, paused).set_user_attr("target", step.target)
                return paused.number
            target = step.target
        else:
            if self.sampler_name == "grid":
                tried = [trial.params for trial in self.trials("coupled")]
                left = [arm for arm in self.space.arms if arm not in tried]
                if not left:
                    return None
            else:  # drawn anew by each worker and after each start, so no two draw the same
                study.sampler = make_sampler(
                    self.sampler_name, self.sampler_seed + len(study.get_trials(deepcopy=False))
                )
            target = 1 if self.prunes else self.space.max_epochs
        seed = self.runs.training_args.seed
        made = {
            "worker": self.workers.me,
            "target": target,
            "setting": setting,
            "seed": seed,
            "seconds": 0.0,
            "times": [],
        }
        distributions = {name: self.distributions[name] for name in self.space.axes}
        if self.sampler_name == "grid":
            study.add_trial(
                create_trial(state=TrialState.RUNNING, params=left[0], distributions=distributions, user_attrs=made)
            )
            return study.get_trials(deepcopy=False)[-1].number
        trial = study.ask(distributions)
        for key, value in made.items():
            trial.set_user_attr(key, value)
        return trial.number

    def train_while_promising(self, trial: Trial, setting: dict[str, Any]) -> None:
        """Train a trial to its target and on, epoch by epoch, until the pruner stops it or the longest run is
        reached."""
        study = self.studies["coupled"]
        longest = self.space.max_epochs
        while True:
            began = time.perf_counter()
            target = trial.user_attrs["target"]
            scores = self.runs.epochs(trial.number, {**setting, **trial.params}, target)
            with self.workers.locked():
                for epoch in range(len(study.trials[trial.number].intermediate_values) + 1, target + 1):
                    trial.report(scores[epoch - 1], epoch)
                    print_once(f"{describe(trial.params)}: epoch {epoch}, {self.space.metric} {scores[epoch - 1]:.4f}")
                trial.set_user_attr("seconds", trial.user_attrs["seconds"] + time.perf_counter() - began)
                trial.set_user_attr(
                    "times", [*trial.user_attrs["times"], *[time.time()] * (target - len(trial.user_attrs["times"]))]
                )
                spent = sum(other.user_attrs["target"] for other in self.trials("coupled"))
                if target < longest and spent < self.max_epochs and not trial.should_prune():
                    trial.set_user_attr("target", target + 1)
                    continue
                trial.set_user_attr("worker", "")
                if target == longest or self.sampler_name != "casual":  # casual only pauses it
                    self.close(study.trials[trial.number])
                return

    def close(self, trial: FrozenTrial) -> None:
        """Finish a trial, with its best epoch as its value, and free the disk."""
        scores = list(trial.intermediate_values.values())
        state = TrialState.COMPLETE if len(scores) == self.space.max_epochs else TrialState.PRUNED
        best = max(scores, key=lambda score: score * self.space.sign)
        self.studies["coupled"].tell(trial.number, best if state == TrialState.COMPLETE else None, state=state)
        self.runs.drop_models("coupled", trial.number)

    def hill(self, arms: list[dict[str, float]]) -> Hill:
        """The smoothed score of the trials' arms, in their order, and of more arms."""
        trials = self.scored()
        curves = {
            i: [self.space.sign * score for score in trial.intermediate_values.values()]
            for i, trial in enumerate(trials)
        }
        return Hill([*(trial.params for trial in trials), *arms], self.space.max_epochs, curves, self.casual.prior)

    def best_cells(self) -> list[dict[str, Any]]:
        """The finalists: the best trained cell by the smoothed score, then the best cell of other arms, also between
        trained ones."""
        tried = [trial.params for trial in self.scored()]
        hill = self.hill([arm for arm in self.space.arms if arm not in tried])
        first, column = hill.best()
        order = [int(arm) for arm in np.argsort(-hill.mean.max(axis=1), kind="stable") if arm != first]
        columns = {first: column} | {arm: int(hill.mean[arm].argmax()) for arm in order}
        return [{**hill.arms[arm], EPOCHS: columns[arm] + 1} for arm in [first, *order][: self.space.finalists]]

    def smoothed_grid(self) -> np.ndarray:
        """(values of each axis, epochs) smoothed scores of the whole grid."""
        mean = self.hill(self.space.arms).mean[-len(self.space.arms) :]
        return mean.reshape(*map(len, self.space.axes.values()), self.space.max_epochs)

    def epochs_of(self, trial: FrozenTrial) -> float:
        """Epochs that a whole run trains."""
        folds = self.space.finalist_folds if EPOCHS in trial.params else 1
        return trial.params.get(EPOCHS, self.runs.training_args.num_train_epochs) * folds

    def start(self) -> int:
        """The arm nearest to the fast preset's own values, by rank."""
        ranks = {}
        for name, values in self.space.axes.items():
            own = {**vars(self.runs.task_args), **vars(self.runs.training_args)}.get(name)
            try:
                distances = [
                    abs(math.log(value / float(own))) if name == "learning_rate" else abs(value - float(own))
                    for value in values
                ]
            except (TypeError, ValueError):  # None, auto
                distances = [0.0]
            ranks[name] = int(np.argmin(distances))
        return self.space.arms.index({name: self.space.axes[name][rank] for name, rank in ranks.items()})


def live(study: optuna.Study, trial: FrozenTrial) -> Trial:
    """A trial that can be written to, of one that was read. Optuna has no public name for its number in the storage."""
    return Trial(study, trial._trial_id)


def described_runs(task_args: Any, training_args: Any) -> dict[str, Any]:
    """What must not change between two starts of a search: all fields of its runs, and what data_sha256() says of their
    data and weights_fingerprints() of their weights."""
    fields = {name: value for name, value in resolved_config(task_args, training_args).items() if name not in FREE}
    paths = {name: fields.pop(name) for name in task_args.DATA_FIELDS if fields.get(name)}
    weights = {name: entry["sha256"] for name, entry in weights_fingerprints(task_args).items()}
    return {"fields": fields, "data": {name: data_sha256(path) for name, path in paths.items()} | weights}


def describe(options: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in options.items()
    )


def make_sampler(name: str, seed: int) -> optuna.samplers.BaseSampler:
    """One of Optuna's own. casual and grid are not among them: Search takes their cells in order."""
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
