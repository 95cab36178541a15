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

if TYPE_CHECKING:
    from common.run import Run

    from data import ClipExample

MOMENTS = 5  # of a clip, from its start to its end
WORST = 6  # clips that are shown over a frame
REACH = 3.5  # sizes of the person that a stick figure's panel shows on each side


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
    row_of = {row.id: row for part in ("train", "eval") for row in examples.get(part, [])}
    result = results[name]
    rows = [row_of[row_id] for row_id in result.ids.tolist()]
    clips = np.stack([sampled(normalised(row.pose, preprocessing), MOMENTS, 0) for row in rows])  # (N, M, K, 3)
    labels = result.labels
    predictions = result.logits.argmax(axis=1)
    names = tick_labels(result.label_names)[0]
    lines = ["", f"## Key points: {name}", "", "The mean pose of each class through time, in sizes of the person:", ""]
    lines += [save_plot(run.dir, "mean_poses", plot_poses(clips, labels, names, preprocessing.parents)), ""]
    counts = confusion_matrix(labels, predictions, labels=range(len(names)))
    np.fill_diagonal(counts, 0)
    if counts.any():
        truth, wrong = np.unravel_index(counts.argmax(), counts.shape)
        pair = np.array([truth, wrong])
        what = f"{escape(names[truth])}, taken for {escape(names[wrong])} in {counts.max()} clips"
        shown = np.isin(labels, pair)
        plot = plot_poses(clips[shown], np.where(labels[shown] == truth, 0, 1), [names[i] for i in pair], None, True)
        lines += [f"Confused most: {what}. Both, one over the other:", "", save_plot(run.dir, "confused", plot), ""]
    losses = row_log_losses(result.logits, labels)
    worst = np.argsort(-losses)[:WORST].tolist()
    titles = [f"{rows[i].id}\n{names[labels[i]]}, {losses[i]:.2f} nats: {names[predictions[i]]}" for i in worst]
    plot = plot_clips([rows[i] for i in worst], titles, preprocessing.parents)
    lines += ["The clips with the highest loss, their middle frame with the key points:", ""]
    lines += [save_plot(run.dir, "highest_loss", plot), ""]
    page = (run.dir / "report.md").read_text(encoding="utf-8")
    with atomic_write(run.dir / "report.md") as file:
        file.write(page + "\n".join(lines))


def plot_poses(
    clips: np.ndarray, labels: np.ndarray, names: Sequence[str], parents: Sequence[int] | None, together: bool = False
) -> Figure:
    """A row for each class, a column for each moment: the mean of the points, weighted by confidence. clips: (N, M, K,
    3). together: all classes in one row, by colour."""
    height = 1 if together else len(names)
    figure = Figure(figsize=(2 * MOMENTS, 2 * height + 0.4), layout="constrained")
    panels = figure.subplots(height, MOMENTS, squeeze=False)
    for label, name in enumerate(names):
        own = clips[labels == label]
        for moment in range(MOMENTS):
            axes = panels[0 if together else label, moment]
            frame_axes(axes)
            if len(own):
                weights = own[:, moment, :, 2] + 1e-6
                mean = np.average(own[:, moment, :, :2], axis=0, weights=np.repeat(weights[..., None], 2, axis=2))
                draw(axes, mean, parents, f"C{label if together else 0}")
            if moment == 0 and not together:
                axes.set_ylabel(name)
    if together:
        for label, name in enumerate(names):
            panels[0, 0].plot([], [], "o", color=f"C{label}", label=name)
        figure.legend(loc="outside upper center", ncols=len(names))
    return figure


def frame_axes(axes: Any) -> None:
    """A panel in sizes of the person, y downwards as in a picture."""
    axes.set_xlim(-REACH, REACH)
    axes.set_ylim(REACH, -REACH)
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
            scale = np.array(image.shape[1::-1]) / (row.pose.size or image.shape[1::-1])
        except InputError:
            axes.invert_yaxis()
            scale = np.ones(2)
        points = row.pose.points[len(row.pose.points) // 2, :, :2]
        draw(axes, points * scale, parents, "C1")
        axes.set_title(title, fontsize=8)
    return figure
