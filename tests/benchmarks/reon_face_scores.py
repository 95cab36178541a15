"""Scores of real videos against one another and against copies at other sizes and frame rates, as Markdown tables.

python tests/benchmarks/reon_face_scores.py --model RUN_OR_EXPORTED --videos A.mp4 B.mp4 C.mp4
"""

import argparse
import sys
import tempfile
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from reon_face.scoring.performance import Comparison, compare
from tests.tools.faces import reencode, watched

COPIES = [
    ((680, 512), 25),
    ((480, 362), 12),
    ((240, 180), 30),
    ((170, 128), 10),
]  # (width, height), frames a second; H.264


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--videos", nargs="+", required=True)
    args = parser.parse_args()
    names = [Path(video).stem for video in args.videos]
    with tempfile.TemporaryDirectory() as folder:
        files = list(args.videos)
        for (video, name), (number, (size, rate)) in product(zip(args.videos, names, strict=True), enumerate(COPIES)):
            files.append(reencode(video, Path(folder) / f"{name}_{number}.mp4", size, rate, "libx264"))
        performances = [performance for performance, _ in watched(files, args.model)]
    originals, copies = performances[: len(names)], performances[len(names) :]
    for alignment, distance in product(("dtw", "offset", "none"), ("l1", "js")):
        how = Comparison(alignment, distance)
        print(
            f"\n{alignment}, {distance}\n\n| actor | {' | '.join(f'{name} | its copies' for name in names)} | still "
            "face |"
        )
        print("|---" * (2 * len(names) + 2) + "|")
        for name, actor in zip(names, originals, strict=True):
            cells = [name]
            for other, user in enumerate(originals):
                of_copies = [
                    compare(actor, copy, how).score for copy in copies[other * len(COPIES) : (other + 1) * len(COPIES)]
                ]
                cells += [f"{compare(actor, user, how).score:.1f}", f"{min(of_copies):.1f} to {max(of_copies):.1f}"]
            print(f"| {' | '.join(cells)} | {compare(actor, actor, how).still_score:.1f} |")


if __name__ == "__main__":
    main()
