"""What a run's report.md shows of key points: mean poses, the pair that is confused most, the clips with most loss.

report_poses(run, examples, results, preprocessing)      # after report_run(), whose page it goes on with
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import confusion_matrix

from common.console import InputError
from common.files import atomic_write
from common.logits import Logits
from common.metrics import row_log_losses
from common.report.run_page import escape, save_plot, tick_labels
from common.targets import Classes

from decode import read_frames
from pose_input import PosePreprocessing, normalised, sampled
from poses import unit_of

if TYPE_CHECKING:
    from common.run import Run

    from clip_folders import ClipExample

MOMENTS = 5  # of a clip, from its start to its end
WORST = 6  # clips that are shown over a frame
MARGIN = 0.08  # of a stick figure's panel, on each side of what all panels show


def report_poses(
    run: "Run", examples: dict[str, Sequence["ClipExample"]], results: dict[str, Logits], preprocessing: Any
) -> None:
    """Add a section to report.md, of the out-of-fold rows or, without folds, of the evaluated ones. Does nothing where
    the model reads no key points, or clips have several labels."""
    name = "oof" if "oof" in results else "eval"
    if not isinstance(preprocessing, PosePreprocessing) or name not in results or not run.state.is_main_process:
        return
    if results[name].label_names.kind != Classes.kind:
        return
    result = results[name]
    rows = rows_of(name, examples, result.ids.tolist())
    clips = np.stack([sampled(normalised(row.pose, preprocessing), MOMENTS, 0) for row in rows])  # (N, M, K, 3)
    labels = result.labels
    predictions = result.logits.argmax(axis=1)
    names = tick_labels(result.label_names)[0]
    bones = "" if preprocessing.parents else " (with `--pose_names` its points are joined by bones)"
    lines = ["", f"## Key points: {name}", "", f"The mean pose of each class through time{bones}:", ""]
    lines += [save_plot(run.dir, "mean_poses", plot_poses(clips, labels, names, preprocessing.parents)), ""]
    counts = confusion_matrix(labels, predictions, labels=range(len(names)))
    np.fill_diagonal(counts, 0)
    if counts.any():
        truth, wrong = np.unravel_index(counts.argmax(), counts.shape)
        pair = np.array([truth, wrong])
        what = f"{escape(names[truth])}, taken for {escape(names[wrong])} in {counts.max()} clips"
        shown = np.isin(labels, pair)
        plot = plot_poses(
            clips[shown], np.where(labels[shown] == truth, 0, 1), [names[i] for i in pair], preprocessing.parents, True
        )
        lines += [f"Confused most: {what}. Both, one over the other:", "", save_plot(run.dir, "confused", plot), ""]
    losses = row_log_losses(result.logits, labels)
    worst = np.argsort(-losses)[:WORST].tolist()
    titles = [
        f"{rows[i].id}\n{names[labels[i]]}, taken for {names[predictions[i]]}, loss {losses[i]:.2f}" for i in worst
    ]
    plot = plot_clips([rows[i] for i in worst], titles, preprocessing.parents)
    lines += ["The clips with the highest loss, their middle frame with the key points:", ""]
    lines += [save_plot(run.dir, "highest_loss", plot), ""]
    page = (run.dir / "report.md").read_text(encoding="utf-8")
    with atomic_write(run.dir / "report.md") as file:
        file.write(page + "\n".join(lines))


def rows_of(name: str, examples: dict[str, Sequence["ClipExample"]], ids: Sequence[str]) -> "list[ClipExample]":
    """The clips of a result, oof or eval, by their ids: train_file and eval_file may have clips of the same name, of
    which eval_file's were evaluated."""
    parts = ("train",) if name == "oof" else ("train", "eval")
    row_of = {row.id: row for part in parts for row in examples.get(part, [])}
    return [row_of[row_id] for row_id in ids]


def plot_poses(
    clips: np.ndarray, labels: np.ndarray, names: Sequence[str], parents: Sequence[int] | None, together: bool = False
) -> Figure:
    """A row for each class, a column for each moment: the mean of the points, weighted by confidence. clips: (N, M, K,
    3). together: all classes in one row, by colour."""
    height = 1 if together else len(names)
    figure = Figure(figsize=(2 * MOMENTS, 2 * height + 0.6), layout="constrained")
    panels = figure.subplots(height, MOMENTS, squeeze=False)
    means = {label: mean_pose(own) for label in range(len(names)) if len(own := clips[labels == label])}
    low, high = limits(np.concatenate(list(means.values())).reshape(-1, 2))
    for label, name in enumerate(names):
        row = panels[0 if together else label]
        for moment, axes in enumerate(row):
            frame_axes(axes, low, high)
            if label in means:
                draw(axes, means[label][moment], parents, f"C{label if together else 0}")
        if not together:
            row[0].set_ylabel(name)
    for moment, axes in enumerate(panels[0]):
        axes.set_title(f"{(moment + 0.5) / MOMENTS:.0%} of the clip", fontsize=9)
    if together:
        for label, name in enumerate(names):
            panels[0, 0].plot([], [], "o", color=f"C{label}", label=name)
        figure.legend(loc="outside upper center", ncols=len(names))
    return figure


def mean_pose(clips: np.ndarray) -> np.ndarray:
    """(M, K, 2) of clips (N, M, K, 3), weighted by confidence; NaN where no clip has a point."""
    weights = clips[..., 2:]
    total = weights.sum(axis=0)
    return np.where(total > 0, (clips[..., :2] * weights).sum(axis=0) / np.maximum(total, 1e-6), np.nan)


def limits(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Corners (2,) of a square around points (N, 2), with a margin; around the origin where there are none."""
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points):
        return -np.ones(2), np.ones(2)
    low, high = points.min(axis=0), points.max(axis=0)
    half = (0.5 + MARGIN) * max((high - low).max(), 1e-3)
    return (low + high) / 2 - half, (low + high) / 2 + half


def frame_axes(axes: Any, low: np.ndarray, high: np.ndarray) -> None:
    """A panel in sizes of the person, y downwards as in a picture."""
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(high[1], low[1])
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])


def draw(axes: Any, points: np.ndarray, parents: Sequence[int] | None, color: str) -> None:
    """Points (K, 2), NaN where there is none, and the bones where a graph is known."""
    if parents is not None:
        for child, parent in enumerate(parents):
            axes.plot(*points[[child, parent]].T, "-", color=color, linewidth=1.2)
    axes.plot(*points.T, ".", color=color, markersize=4)


def plot_clips(rows: Sequence["ClipExample"], titles: Sequence[str], parents: Sequence[int] | None) -> Figure:
    """The middle frame of each clip with its points; on white where it cannot be decoded."""
    columns = 3
    lines = -(-len(rows) // columns)
    figure = Figure(figsize=(3.6 * columns, 3.2 * lines), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes in panels:
        axes.axis("off")
    for axes, row, title in zip(panels, rows, titles, strict=False):
        try:
            image = read_frames(row.frames or row.path, lambda total: [total // 2], lambda frames: frames)[0]
            axes.imshow(image)
            size = np.array(image.shape[1::-1])
            scale = size if unit_of(row.pose) == "shares" else size / (row.pose.size or size)
        except InputError:
            axes.invert_yaxis()
            scale = np.ones(2)
        points = row.pose.points[len(row.pose.points) // 2, :, :2]
        draw(axes, points * scale, parents, "C1")
        nobody = "" if np.isfinite(points).any() else " (nobody here)"
        axes.set_title(title + nobody, fontsize=8)
    return figure
