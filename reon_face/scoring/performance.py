"""Two performances as curves of class probabilities, their alignment in time, and a score from 0 to 100. NumPy only.

result = compare(actor, user, Comparison(alignment="dtw", distance="l1"))  # result.score, result.costs, result.shifts

web/src/score.js is the same algorithm in JavaScript; a test compares the two.
"""

from dataclasses import dataclass

import numpy as np

from common.console import InputError

RATE = 10  # moments per second of the common time grid
MAX_GAP = 0.3  # seconds: a moment with no face this near is a moment without a face
# what dtw pays, as a distance, for each change of the shift by one moment: noise is not worth it, a late reaction is
WARP_PENALTY = 0.15
FACE_PIXELS = 32  # height and width at which faces are compared: those of a small video, too
# (right, down, size), in shares of the face's box: a detector's box trembles by some pixels, and what a classifier says
# with it
VIEWS = ((0.0, 0.0, 1.0), (-0.06, -0.04, 0.94), (0.06, -0.04, 1.06), (-0.06, 0.04, 1.06), (0.06, 0.04, 0.94))
REACH = 8  # standard deviations of the kernel; what lies further away has weight 0
WORST_APART = 1.0  # seconds between two moments that are named as the worst


@dataclass(frozen=True)
class Performance:
    """What a model saw in a video: times (N,) in seconds, ascending; probabilities (N, C), a row of NaN where no face
    was found."""

    times: np.ndarray
    probabilities: np.ndarray
    duration: float  # seconds


@dataclass(frozen=True)
class Comparison:
    """How two performances are compared. alignment: dtw, offset or none. distance: l1 or js."""

    alignment: str = "dtw"
    distance: str = "l1"
    smoothing: float = 0.3  # seconds: standard deviation of the Gaussian kernel
    max_shift: float = 1.0  # seconds that the user may be early or late


@dataclass(frozen=True)
class Result:
    """A comparison on the actor's time grid of T moments, RATE a second.

    actor, user: curves (T, C); user is the user's curve at the aligned moments; NaN where no face was seen. costs (T,):
    distance 0 to 1, NaN where the actor has no face. shifts (T,): seconds that the user is late. still_score: what a
    motionless face with the actor's mean probabilities would score. mean_distance_score: the score of the two mean
    distributions alone, without any timing.
    """

    score: float
    still_score: float
    mean_distance_score: float
    times: np.ndarray
    actor: np.ndarray
    user: np.ndarray
    costs: np.ndarray
    shifts: np.ndarray


def resample(performance: Performance, smoothing: float) -> np.ndarray:
    """Probabilities (T, C) at the moments 0, 1 / RATE, ... of the performance: the Gaussian-weighted mean of the frames
    around each.

    The kernel's width is in seconds, so that the frame rate does not matter. NaN where no frame with a face is within
    MAX_GAP.
    """
    grid = np.arange(max(1, round(performance.duration * RATE))) / RATE
    seen = ~np.isnan(performance.probabilities[:, 0])
    times = performance.times[seen]
    probabilities = performance.probabilities[seen]
    curve = np.full((len(grid), probabilities.shape[1]), np.nan)
    reach = MAX_GAP + REACH * smoothing
    for t, (first, last) in enumerate(
        zip(np.searchsorted(times, grid - reach), np.searchsorted(times, grid + reach), strict=True)
    ):
        squared = (grid[t] - times[first:last]) ** 2
        if squared.min(initial=np.inf) <= MAX_GAP**2:
            weights = np.exp(
                (squared.min() - squared) / (2 * smoothing**2)
            )  # the nearest frame has weight 1: nothing underflows
            curve[t] = weights @ probabilities[first:last] / weights.sum()
    return curve


def distances(p: np.ndarray, q: np.ndarray, kind: str) -> np.ndarray:
    """Distance (...), 0 to 1, of distributions (..., C). l1: half the sum of the absolute differences (total
    variation). js: the Jensen-Shannon distance, square root of the divergence to base 2 (Endres and Schindelin
    2003)."""
    if kind == "l1":
        return np.abs(p - q).sum(axis=-1) / 2
    middle = (p + q) / 2
    divergence = (relative_entropy(p, middle) + relative_entropy(q, middle)) / 2
    return np.sqrt(np.clip(divergence, 0, 1))


def relative_entropy(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """In bits; 0 log 0 = 0."""
    return (p * np.log2(np.where(p > 0, p, 1) / np.where(p > 0, q, 1))).sum(axis=-1)


def shift_costs(actor: np.ndarray, user: np.ndarray, max_steps: int, kind: str) -> np.ndarray:
    """(T, 2 max_steps + 1): what actor's moment t costs against the user's moment t + s, s from -max_steps to
    max_steps.

    1 where the user has no such moment or no face in it: who leaves a part out is not rewarded. 0 where the actor has
    no face.
    """
    costs = np.ones((len(actor), 2 * max_steps + 1))
    for column, shift in enumerate(range(-max_steps, max_steps + 1)):
        first = max(0, -shift)
        last = min(len(actor), len(user) - shift)
        if first < last:
            found = distances(actor[first:last], user[first + shift : last + shift], kind)
            costs[first:last, column] = np.where(np.isnan(found), 1, found)
    costs[np.isnan(actor[:, 0])] = 0
    return costs


def align(costs: np.ndarray, alignment: str) -> np.ndarray:
    """The column of each row (T,) with the lowest sum: of all paths (dtw), of all constant ones (offset), or the middle
    one (none).

    dtw is asymmetric dynamic time warping in a Sakoe-Chiba band: every moment of the actor is met by one of the user,
    who goes on by 0, 1 or 2 moments (Sakoe and Chiba 1978), so the path has T steps whatever it does. 0 and 2 cost
    WARP_PENALTY in the choice of the path, not in the score. Of equal paths the one with fewer and smaller shifts is
    taken.
    """
    middle = costs.shape[1] // 2
    from_middle = sorted(range(costs.shape[1]), key=lambda column: abs(column - middle))
    if alignment == "none":
        return np.full(len(costs), middle)
    if alignment == "offset":
        totals = costs.sum(axis=0)
        return np.full(len(costs), min(from_middle, key=lambda column: totals[column]))
    totals = costs[0]
    steps = np.zeros(costs.shape, dtype=int)
    edge = [np.inf]
    for t in range(1, len(costs)):
        left = np.concatenate([edge, totals[:-1]])
        right = np.concatenate([totals[1:], edge])
        before = np.stack([totals, left + WARP_PENALTY, right + WARP_PENALTY])
        choice = before.argmin(axis=0)
        steps[t] = np.array([0, -1, 1])[choice]
        totals = before.min(axis=0) + costs[t]
    path = np.empty(len(costs), dtype=int)
    path[-1] = min(from_middle, key=lambda column: totals[column])
    for t in range(len(costs) - 1, 0, -1):
        path[t - 1] = path[t] + steps[t, path[t]]
    return path


def compare(actor: Performance, user: Performance, how: Comparison) -> Result:
    """Score the user's performance against the actor's: 100 (1 - mean distance over the moments in which the actor's
    face is seen).

    Raises InputError where the actor's face is never seen, or the two have different numbers of classes.
    """
    if actor.probabilities.shape[1] != user.probabilities.shape[1]:
        raise InputError(
            f"{actor.probabilities.shape[1]} classes for the actor and {user.probabilities.shape[1]} for the user"
        )
    curves = [resample(performance, how.smoothing) for performance in (actor, user)]
    seen = ~np.isnan(curves[0][:, 0])
    if not seen.any():
        raise InputError("the actor's face is never seen, so there is nothing to compare with")
    max_steps = 0 if how.alignment == "none" else round(how.max_shift * RATE)
    costs = shift_costs(*curves, max_steps, how.distance)
    path = align(costs, how.alignment)
    shifts = path - max_steps
    moments = np.arange(len(costs))
    chosen = np.where(seen, costs[moments, path], np.nan)
    matched = moments + shifts
    inside = (matched >= 0) & (matched < len(curves[1]))
    aligned = np.where(inside[:, None], curves[1][np.clip(matched, 0, len(curves[1]) - 1)], np.nan)
    mean = curves[0][seen].mean(axis=0)
    user_seen = ~np.isnan(curves[1][:, 0])
    of_means = distances(mean, curves[1][user_seen].mean(axis=0), how.distance) if user_seen.any() else 1.0
    return Result(
        score=to_score(chosen[seen].mean()),
        still_score=to_score(distances(curves[0][seen], mean, how.distance).mean()),
        mean_distance_score=to_score(of_means),
        times=moments / RATE,
        actor=curves[0],
        user=aligned,
        costs=chosen,
        shifts=shifts / RATE,
    )


def to_score(distance: float) -> float:
    return float(100 * (1 - distance))


def worst_moments(result: Result, count: int) -> list[int]:
    """Indices of the moments that cost most, highest first, at least WORST_APART seconds from one another."""
    chosen: list[int] = []
    for t in np.argsort(-np.nan_to_num(result.costs), kind="stable"):
        apart = all(abs(result.times[t] - result.times[other]) >= WORST_APART for other in chosen)
        if len(chosen) < count and result.costs[t] > 0 and apart:
            chosen.append(int(t))
    return chosen
