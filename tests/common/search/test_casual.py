"""The choice of the next epoch, on hills whose top is known, and the same choice through Optuna."""

import numpy as np
import optuna
import pytest

from common.search.casual import CasualPruner, CasualSampler, Hill, Prior, next_step

RATES = 1e-5 * 2.0 ** np.arange(8)
ARMS = [{"learning_rate": rate} for rate in RATES]
EPOCHS = 10
PRIOR = Prior()


def hill(top_rate, top_epoch, noise=0.0, seed=0):
    """(A, E) accuracies with one top, steep at low and at high rates, and a ridge of equal rate x epochs."""
    rates, epochs = np.meshgrid(
        np.log(RATES / RATES[top_rate]), np.log(np.arange(1, EPOCHS + 1) / top_epoch), indexing="ij"
    )
    scores = 0.8 - 0.02 * (rates + epochs) ** 2 - 0.01 * rates**2
    return scores + noise * np.random.default_rng(seed).standard_normal(scores.shape)


def run(scores, start, prior=PRIOR, closed=()):
    curves, order = {}, []
    while (step := next_step(ARMS, EPOCHS, curves, start, closed, prior)) is not None:
        assert step.arm not in closed
        assert (
            step.target == len(curves.get(step.arm, ())) + 1 <= EPOCHS
        )  # an epoch is trained once, after those before it
        curves[step.arm] = scores[step.arm, : step.target].tolist()
        order.append((step.arm, step.target))
        assert len(order) <= scores.size
    surface = Hill(ARMS, EPOCHS, curves, prior)
    return order, surface.best()


@pytest.mark.parametrize("start", [0, 3, 7])
@pytest.mark.parametrize("top", [(2, 5), (4, 3), (6, 2)])
def test_the_top_of_a_smooth_hill_is_found_from_every_start_in_a_third_of_the_grid(top, start):
    scores = hill(*top)
    order, best = run(scores, start)
    assert scores[best] >= scores.max() - 0.006
    assert len(order) <= scores.size / 3


def test_noise_of_half_a_point_costs_less_than_a_point_of_the_true_hill():
    truth, regrets = hill(4, 3), []
    for seed in range(10):
        _, best = run(hill(4, 3, noise=0.005, seed=seed), start=seed % 8)
        regrets.append(truth.max() - truth[best])
    assert np.mean(regrets) < 0.005 and max(regrets) < 0.02


def test_the_first_epoch_is_the_starts_and_a_second_worker_takes_a_neighbour():
    assert run(hill(4, 3), start=5)[0][0] == (5, 1)
    assert next_step(ARMS, EPOCHS, {}, 5, [5], PRIOR).arm in (4, 6)


def test_arms_that_others_train_are_left_to_them():
    scores = hill(4, 3)
    curves = {arm: scores[arm, :2].tolist() for arm in (3, 4)}
    alone = next_step(ARMS, EPOCHS, curves, 3, (), PRIOR)
    assert next_step(ARMS, EPOCHS, curves, 3, [alone.arm], PRIOR).arm != alone.arm
    assert next_step(ARMS, EPOCHS, curves, 3, range(len(ARMS)), PRIOR) is None


def test_scores_far_below_the_best_all_count_as_bad():
    curves = {0: [0.1], 4: [0.79, 0.80]}
    low, lower = (Hill(ARMS, EPOCHS, {**curves, 0: [score]}, PRIOR).mean for score in (0.6, 0.1))
    np.testing.assert_allclose(low, lower)


def test_the_smoothed_score_is_sure_where_it_was_trained_and_unsure_elsewhere():
    surface = Hill(ARMS, EPOCHS, {4: [0.78, 0.80]}, PRIOR)
    assert surface.deviation[4, :2].max() < 0.1 < surface.deviation[0].min()
    assert surface.mean[4, 1] > surface.mean[4, 0]


def test_no_search_ends_on_a_rise():
    """A curve that rises slowly promises little each epoch; it is followed to its top or to the longest run."""
    scores = np.tile(0.5 + 0.002 * np.arange(EPOCHS), (len(RATES), 1)) - 0.2 * (np.arange(len(RATES)) != 4)[:, None]
    order, best = run(scores, start=4)
    assert best == (4, EPOCHS - 1) and (4, EPOCHS) in order


def test_a_second_axis_is_part_of_the_hill():
    arms = [{"learning_rate": rate, "weight_decay": decay} for rate in RATES for decay in (0.0, 0.1)]
    scores = np.repeat(hill(4, 3), 2, axis=0) - np.tile([0.0, 0.02], len(RATES))[:, None]  # decay costs 2 points
    curves = {}
    while (step := next_step(arms, EPOCHS, curves, 8, (), PRIOR)) is not None:
        curves[step.arm] = scores[step.arm, : step.target].tolist()
    surface = Hill(arms, EPOCHS, curves, PRIOR)
    assert scores[surface.best()] >= scores.max() - 0.006
    assert sum(map(len, curves.values())) <= scores.size / 3


@pytest.mark.parametrize("direction, sign", [("maximize", 1), ("minimize", -1)])
def test_sampler_and_pruner_choose_what_next_step_chooses(direction, sign):
    scores = hill(4, 3)
    sampler = CasualSampler(ARMS, EPOCHS, 0, PRIOR)
    study = optuna.create_study(direction=direction, sampler=sampler, pruner=CasualPruner(sampler))
    order = []
    while (step := sampler.next_step(study, {trial.number for trial in study.trials})) is not None:
        number = next((t.number for t in study.trials if t.params == ARMS[step.arm]), None)
        trial = (
            study.ask(sampler.infer_relative_search_space(study, None))
            if number is None
            else optuna.trial.Trial(study, number)
        )
        assert trial.params == ARMS[step.arm]
        trial.report(sign * scores[step.arm, step.target - 1], step.target)
        order.append((step.arm, step.target))
        after = sampler.next_step(study, {t.number for t in study.trials})
        assert trial.should_prune() == (after is None or after.arm != step.arm)
    assert order == run(scores, start=0)[0]
