"""How close a user's performance comes to an actor's: a score from 0 to 100, the curves of both, and the moments that
cost most.

python {task}/score.py ACTOR.mp4 USER.mp4 --model RUN
python {task}/score.py ACTOR.mp4 USER.mp4 --model EXPORTED --alignment offset --distance js --output_dir scores/kim
"""

import argparse
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from common.console import InputError, print_once, run_main
from common.options.checks import check_folder, check_number
from common.options.fields import MAX_THREADS
from common.options.help import show_help
from common.options.parser import Parser

from scoring.performance import FACE_PIXELS

TASK_DIR = Path(__file__).resolve().parent
NEAR_UNIFORM = 0.15  # mean distance from equal probabilities below which the model says too little


@dataclass
class ScoreArguments:
    """Fields of score.py."""

    model: str = field(metadata={"help": "a run, one of its folds, or a folder that export.py wrote"})
    alignment: Literal["dtw", "offset", "none"] = field(
        default="dtw",
        metadata={"help": "the user may be early or late by an amount that changes (dtw) or stays (offset)"},
    )
    distance: Literal["l1", "js"] = field(
        default="l1", metadata={"help": "of two distributions: half the sum of absolute differences, or Jensen-Shannon"}
    )
    smoothing: float = field(
        default=0.3, metadata={"help": "seconds: standard deviation of the Gaussian kernel, 0.01 to 1"}
    )
    max_shift: float = field(default=1.0, metadata={"help": "seconds that the user may be early or late, 0 to 5"})
    face_pixels: int = field(
        default=FACE_PIXELS,
        metadata={
            "help": "faces are compared at this height and width, so that the sharper camera has no other expression"
        },
    )
    detector: str | None = field(
        default=None,
        metadata={"help": "haar, none or YuNet's .onnx file; default: the one that made the model's training crops"},
    )
    output_dir: str = field(
        default=f"runs/{TASK_DIR.name}/score", metadata={"help": "score.json and score.png go here"}
    )
    torch_num_threads: int | None = field(default=None, metadata={"help": "CPU threads; default: torch's"})


def parse_args(argv: list[str] | None = None) -> tuple[ScoreArguments, argparse.Namespace]:
    """The options, and the videos: actor and user. Exits after --help. Raises InputError."""
    argv = sys.argv[1:] if argv is None else argv
    parser = Parser(ScoreArguments, prog="score.py")
    parser.add_argument("actor", help="the actor's video")
    parser.add_argument("user", help="the user's video")
    if {"-h", "--help"} & set(argv):
        show_help(parser, __doc__, TASK_DIR)
        sys.exit()
    args, videos = parser.parse(argv)
    check_number("smoothing", args.smoothing, 0.01, 1)
    check_number("max_shift", args.max_shift, 0, 5)
    check_number("face_pixels", args.face_pixels, 16, 1024)
    check_number("torch_num_threads", args.torch_num_threads, 1, MAX_THREADS)
    check_folder(Path(args.output_dir), "output_dir")
    for path in (videos.actor, videos.user, args.model):
        if not Path(path).exists():
            raise InputError(f"{path}: no such file or folder")
    return args, videos


def main(args: ScoreArguments, videos: argparse.Namespace) -> None:
    """Watch both videos, compare what was seen, write the score with its curves, and say where it was lost."""
    # torch and transformers are imported only now: --help answers at once
    from common.files import write_json
    from common.options.args import set_threads

    from faces import load_detector
    from scoring.performance import Comparison, compare
    from scoring.watch import load_classifier, watch

    set_threads(args.torch_num_threads, True)
    classifier = load_classifier(args.model)
    detector = load_detector(args.detector or classifier.preprocessing.face_crop["detector"])
    (actor, _), (user, _) = (
        watch(Path(path), detector, classifier, args.face_pixels) for path in (videos.actor, videos.user)
    )
    how = Comparison(args.alignment, args.distance, args.smoothing, args.max_shift)
    try:
        result = compare(actor, user, how)
    except InputError as error:
        raise InputError(f"{videos.actor}: {error}") from error
    notes = find_notes(actor, user, result)

    report = {
        "score": result.score,
        "still_score": result.still_score,
        "mean_distance_score": result.mean_distance_score,
        **asdict(how),
        "face_pixels": args.face_pixels,
        "model": str(Path(args.model).resolve()),
        "actor": describe(videos.actor, actor),
        "user": describe(videos.user, user),
        "notes": notes,
        "worst": describe_worst(result, classifier.label_names),
        "label_names": classifier.label_names,
        "times": result.times.tolist(),
        "shifts": result.shifts.tolist(),
        "costs": or_null(result.costs[:, None]),
        "actor_probabilities": or_null(result.actor),
        "user_probabilities": or_null(result.user),
    }
    output_dir = Path(args.output_dir)
    plot(output_dir / "score.png", result, classifier.label_names, how)
    write_json(output_dir / "score.json", report)
    print_once(f"score {result.score:.1f} of 100 ({args.alignment}, {args.distance})")
    print_once(f"a motionless face with the actor's mean probabilities would score {result.still_score:.1f}")
    for who in ("actor", "user"):
        print_once(f"{who}: a face in {report[who]['moments_with_face']} of {report[who]['moments']} moments")
    for moment in report["worst"]:
        if moment["user_probability"] is None:
            print_once(f"{moment['time']:.1f} s: the user's face is not seen")
        else:
            print_once(
                f"{moment['time']:.1f} s: distance {moment['cost']:.2f}, most in {moment['label']}: "
                f"actor {moment['actor_probability']:.2f}, user {moment['user_probability']:.2f}"
            )
    for note in notes:
        print_once(f"note: {note}")
    print_once(f"{output_dir}: score.json, score.png")


def find_notes(actor, user, result) -> list[str]:
    """What makes this score say little."""
    import numpy as np

    from scoring.performance import distances

    notes = []
    for name, performance in (("actor", actor), ("user", user)):
        share = np.mean(~np.isnan(performance.probabilities[:, 0]))
        if share < 0.5:
            notes.append(f"the {name}'s face is found in only {share:.0%} of the moments")
    seen = np.concatenate([curve[~np.isnan(curve[:, 0])] for curve in (result.actor, result.user)])
    spread = distances(seen, np.full_like(seen, 1 / seen.shape[1]), "l1").mean()
    if spread < NEAR_UNIFORM:
        notes.append(
            "the model gives all emotions nearly equal probabilities, so that any two videos get a high score; train "
            "it longer"
        )
    return notes


def describe(path: str, performance) -> dict:
    import numpy as np

    seen = ~np.isnan(performance.probabilities[:, 0])
    return {"file": path, "seconds": performance.duration, "moments": len(seen), "moments_with_face": int(seen.sum())}


def describe_worst(result, label_names: list[str]) -> list[dict]:
    """The three moments that cost most, with the label whose probability differs most."""
    import numpy as np

    from scoring.performance import worst_moments

    moments = []
    for t in worst_moments(result, 3):
        seen = not np.isnan(result.user[t, 0])
        label = int(np.argmax(np.abs(result.actor[t] - result.user[t]) if seen else result.actor[t]))
        moments.append(
            {
                "time": result.times[t],
                "user_time": result.times[t] + result.shifts[t],
                "cost": result.costs[t],
                "label": label_names[label],
                "actor_probability": result.actor[t, label],
                "user_probability": result.user[t, label] if seen else None,
            }
        )
    return moments


def or_null(values) -> list:
    """Rows for JSON, None where no face was seen; numbers where a row is one number."""
    rows = [None if row[0] != row[0] else row.tolist() for row in values]
    return [row[0] if row is not None and values.shape[1] == 1 else row for row in rows]


def plot(path: Path, result, label_names: list[str], how) -> None:
    """One panel per emotion with both curves, and one of the distance with the worst moments numbered."""
    import matplotlib
    import numpy as np
    from matplotlib.figure import Figure

    from common.files import atomic_write
    from common.report.run_page import STYLE, tick_labels

    from scoring.performance import worst_moments

    ticks, family = tick_labels(label_names)
    with matplotlib.rc_context({**STYLE, "font.size": 9, "font.family": family}):
        rows = -(-(len(ticks) + 1) // 4)
        figure = Figure(figsize=(11, 0.7 + 1.9 * rows), layout="constrained")
        panels = figure.subplots(rows, 4, sharex=True, sharey=True, squeeze=False).ravel()
        for c, (name, axes) in enumerate(zip(ticks, panels, strict=False)):
            for curve, color, who in ((result.actor, "#3f51c4", "actor"), (result.user, "#d2491c", "user")):
                axes.plot(result.times, curve[:, c], color=color, label=who)
            axes.set_title(name, loc="left", fontsize=10)
        axes = panels[len(ticks)]
        axes.fill_between(result.times, np.nan_to_num(result.costs), color="#cfccc2")
        for rank, t in enumerate(worst_moments(result, 3), 1):
            axes.plot(result.times[t], result.costs[t], "o", color="#1e1f26", markersize=11)
            axes.text(result.times[t], result.costs[t], rank, color="white", ha="center", va="center", fontsize=8)
        axes.set_title(f"distance ({how.distance})", loc="left", fontsize=10)
        for axes in panels[len(ticks) + 1 :]:
            axes.set_visible(False)
        panels[0].set_ylim(0, 1)
        figure.supxlabel("seconds of the actor's video", fontsize=9)
        figure.suptitle(f"score {result.score:.1f} of 100", x=0.01, ha="left", fontsize=13, fontweight="bold")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="upper right", ncols=2)
        with atomic_write(path, "wb") as file:
            figure.savefig(file, format="png", dpi=110)


if __name__ == "__main__":
    run_main(lambda: main(*parse_args()))
