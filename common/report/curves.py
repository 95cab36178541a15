"""Learning curves of several runs as SVG in a page: a colour a run, solid what is measured on the training rows."""

import math
from collections.abc import Callable, Sequence

from common.report.web_page import escape

WIDTH, HEIGHT = 360, 230  # of a panel, in its own units
LEFT, RIGHT, TOP, BOTTOM = 48, 8, 10, 34  # margins
COLOURS = 8  # of page.css

Points = list[tuple[float, float]]  # (epoch, value), by epoch


def panel(title: str, keys: dict[str, str], names: Sequence[str], histories: Sequence[list[list[dict]]]) -> str:
    """A figure of the values of some keys of the log histories; "" where no run has any.

    keys: key -> line style, as PANELS of the target's page. histories: of each run, by fold.
    """
    from matplotlib.ticker import MaxNLocator

    curves = [
        (run, key.startswith("eval_"), folds)
        for run, history in enumerate(histories)
        for key in keys
        if any(folds := [points_of(log, key) for log in history])
    ]
    values = [value for _, _, folds in curves for fold in folds for _, value in fold]
    if not values:
        return ""
    last = max(epoch for _, _, folds in curves for fold in folds for epoch, _ in fold)
    ticks = MaxNLocator(5).tick_values(min(values), max(values))
    low, high = ticks[0], ticks[-1]

    def place(epoch: float, value: float) -> str:
        x = LEFT + (WIDTH - LEFT - RIGHT) * epoch / (last or 1)
        y = TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / ((high - low) or 1)
        return f"{x:.1f},{y:.1f}"

    lines = []
    for tick in ticks:
        y = place(0, tick).split(",")[1]
        lines.append(f'<path class="grid" d="M{LEFT} {y}H{WIDTH - RIGHT}"/>')
        lines.append(f'<text x="{LEFT - 6}" y="{float(y) + 4:.1f}" text-anchor="end">{tick:.4g}</text>')
    for tick in MaxNLocator(6, integer=True).tick_values(0, last):
        if tick <= last:
            x = place(tick, low).split(",")[0]
            lines.append(f'<text x="{x}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle">{tick:g}</text>')
    lines.append(f'<text x="{(LEFT + WIDTH) / 2:g}" y="{HEIGHT - 4}" text-anchor="middle">epoch</text>')
    ends = []
    for run, held, folds in curves:
        style = f"run-{run % COLOURS}{' held' if held else ''}"
        mean = mean_of(folds)
        if len(folds) > 1:
            lines += [f'<polyline class="fold {style}" points="{joined(fold, place)}"/>' for fold in folds]
        lines.append(f'<polyline class="mean {style}" points="{joined(mean, place)}"/>')
        if mean:
            ends.append(f"{names[run]}{'' if held else ' (training rows)'} {mean[-1][1]:.4g}")
    told = f"{title} by epoch; at the end {', '.join(ends)}"
    return (
        f'<figure><figcaption>{escape(title)}</figcaption><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(told)}">{"".join(lines)}</svg></figure>'
    )


def points_of(log: list[dict], key: str) -> Points:
    """What a fold's log says of a key, as far as it is finite."""
    found = [(entry.get("epoch"), entry.get(key)) for entry in log]
    return [point for point in found if all(isinstance(x, int | float) and math.isfinite(x) for x in point)]


def mean_of(folds: Sequence[Points]) -> Points:
    """The mean at the epochs that all folds have."""
    by_epoch = [{round(epoch, 4): value for epoch, value in fold} for fold in folds if fold]
    shared = sorted(set.intersection(*map(set, by_epoch)))
    return [(epoch, math.fsum(fold[epoch] for fold in by_epoch) / len(by_epoch)) for epoch in shared]


def joined(points: Points, place: Callable[[float, float], str]) -> str:
    """The points of a polyline; a single one twice, which is a dot."""
    return " ".join(place(*point) for point in (points * 2 if len(points) == 1 else points))


def legend(names: Sequence[str]) -> str:
    """Which colour is which run, and what the two kinds of line are."""
    swatch = '<svg class="swatch" viewBox="0 0 26 12" aria-hidden="true"><path class="mean {}" d="M0 6H26"/></svg>'
    items = [f"<li>{swatch.format(f'run-{run % COLOURS}')}{escape(name)}</li>" for run, name in enumerate(names)]
    lines = ("solid", "training rows"), ("dashed", "evaluated rows"), ("thin", "each fold"), ("thick", "their mean")
    told = ", ".join(f"{line}: {what}" for line, what in lines)
    return f'<ul class="legend">{"".join(items)}</ul><p class="quiet">{told}</p>'
