"""What motion adds to postures: runs of hand_signal beside a baseline that knows how somebody stands and nothing else.

    python tests/benchmarks/hand_signal_postures.py RUN [RUN ...] --clips CLIPS --pose_file POSES.json
    python tests/benchmarks/hand_signal_postures.py PIXELS POSES

Out of fold, the runs' own folds, which must be the same (--fold_seed, --num_folds, --group_by_number): each run, the
average of all, and with --clips three logistic regressions trained on the same folds: on whether and how large somebody
is seen (share of frames with a person, size and place of the person in the frame, confidence), on the mean of the
normalised points over time, on both. How strong they are regularised is chosen in the training part of each fold, by
its groups. Log loss and accuracy with standard errors over the clips, and their differences from both (without --clips
from the first run), paired by fold: mean and standard error over the folds, each fold weighing the same.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from common.blend.runs import load_runs
from common.metrics import row_log_losses

TASK = Path(__file__).parents[2] / "hand_signal"
sys.path.insert(0, str(TASK))
from data import ClipExample, TaskArguments, pose_wish, read_examples  # noqa: E402
from model import find_architecture  # noqa: E402
from pose_input import PosePreprocessing, make_pose_preprocessing, normalised, person  # noqa: E402

STRENGTHS = np.logspace(-4, 1, 6)  # C of LogisticRegression
INNER_FOLDS = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--clips", help="folder of clips that the runs were trained on")
    parser.add_argument("--pose_file")
    parser.add_argument("--group_by_number", type=int, default=1, help="as of the runs")
    args = parser.parse_args()
    runs = load_runs(args.runs, "hand_signal")
    rows = {}
    if args.clips:
        rows |= baselines(args, runs)
    rows |= dict(zip(runs.names, runs.stack, strict=True))
    if len(runs.names) > 1:
        rows["average of the runs"] = runs.stack.mean(axis=0)
    print(table(rows, runs.labels, runs.folds))


def baselines(args: argparse.Namespace, runs) -> dict[str, np.ndarray]:
    """Name -> out-of-fold logits (N, C), rows in the order of the runs."""
    options = TaskArguments(train_file=args.clips, model_name_or_path="pose_tcn", pose_file=args.pose_file)
    layout = {"label_names": None, "group_by_number": args.group_by_number, "poses": pose_wish(options)}
    clips = read_examples(args.clips, layout)
    preprocessing = make_pose_preprocessing(options, find_architecture("pose_tcn"), clips)
    by_id = {clip.id: clip for clip in clips}
    clips = [by_id[row_id] for row_id in runs.logits[0].ids.tolist()]
    seen = np.stack([presence(clip, preprocessing) for clip in clips])
    stands = np.stack([posture(clip, preprocessing) for clip in clips])
    groups = np.array([clip.group for clip in clips])
    features = {
        "equal probabilities": None,
        "who is seen": seen,
        "how they stand": stands,
        "both": np.concatenate([seen, stands], axis=1),
    }
    return {name: out_of_fold(values, runs.labels, runs.folds, groups) for name, values in features.items()}


def presence(clip: ClipExample, preprocessing: PosePreprocessing) -> np.ndarray:
    """(5,) share of frames with somebody, size and place in the frame, mean confidence; zeros where nobody is."""
    pose = clip.pose
    centre, size = person(pose.points[..., :2], pose.found, preprocessing.names)
    if size is None:
        return np.zeros(5)
    frame = np.array(pose.size or np.nanmax(pose.points[..., :2], axis=(0, 1)))
    share = pose.found.any(axis=1).mean()
    return np.array([share, size / frame[1], *(centre / frame), np.nan_to_num(pose.points[..., 2]).mean()])


def posture(clip: ClipExample, preprocessing: PosePreprocessing) -> np.ndarray:
    """(2 * K,) the mean of the normalised points over the frames in which each was found."""
    points = normalised(clip.pose, preprocessing)
    found = clip.pose.found[..., None]
    return ((points[..., :2] * found).sum(axis=0) / found.sum(axis=0).clip(min=1)).ravel()


def out_of_fold(values: np.ndarray | None, labels: np.ndarray, folds: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """(N, C) log probabilities; zeros of no features."""
    result = np.zeros((len(labels), labels.max() + 1))
    if values is None:
        return result
    for fold in np.unique(folds):
        held = folds == fold
        steps = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
        inner = StratifiedGroupKFold(INNER_FOLDS).split(values[~held], labels[~held], groups[~held])
        grid = {"logisticregression__C": STRENGTHS}
        search = GridSearchCV(steps, grid, scoring="neg_log_loss", cv=list(inner))
        result[held] = search.fit(values[~held], labels[~held]).predict_log_proba(values[held])
    return result


def table(rows: dict[str, np.ndarray], labels: np.ndarray, folds: np.ndarray) -> str:
    """Markdown of the out-of-fold scores of name -> logits (N, C), the first one the base of the differences."""
    losses = {name: row_log_losses(logits, labels) for name, logits in rows.items()}
    right = {name: (logits.argmax(axis=1) == labels).astype(float) for name, logits in rows.items()}
    names = list(rows)
    base = next((name for name in names if name == "both"), names[0])
    lines = [f"| | log loss | accuracy | log loss against {base} | accuracy against {base} |", "|---|---|---|---|---|"]
    for name in names:
        cells = [spread(losses[name]), spread(right[name])]
        cells += [spread(per_fold(part[name] - part[base], folds), "+") for part in (losses, right)]
        lines.append(f"| {name} | {' | '.join(cells if name != base else [*cells[:2], '', ''])} |")
    return "\n".join(lines)


def per_fold(values: np.ndarray, folds: np.ndarray) -> np.ndarray:
    return np.array([values[folds == fold].mean() for fold in np.unique(folds)])


def spread(values: np.ndarray, sign: str = "") -> str:
    """Mean and standard error of values that count as independent."""
    return f"{values.mean():{sign}.3f} ± {values.std(ddof=1) / np.sqrt(len(values)):.3f}"


if __name__ == "__main__":
    main()
