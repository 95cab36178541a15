"""The bundled sample: officers that give the six signals, drawn with OpenCV into small mp4 files at first use.

    draw_sample("train")  # as train/drawn.json says: clips_per_signal, first_number, seed, labelled
    python {task}/sample/draw.py officers --clips 120      # officers/: a contest of every kind of target

Signals 0 (right to left) and 4 (left to right) are the same strokes, one the other played backwards: a single frame, or
any set of frames without their order, cannot tell them apart. Backgrounds, sizes, places, tempos, colours, light, blur
and noise vary.
"""

import os
from pathlib import Path

import cv2
import numpy as np

from common.console import ArgumentParser, InputError, print_once, run_main
from common.files import read_json, write_json
from common.new.drawn import read_recipe, write_contest

SIGNALS = 6
RIGHT_TO_LEFT, STOP_FRONT, STOP_FRONT_AND_REAR, STOP_BOTH_SIDES, LEFT_TO_RIGHT, STOP_REAR = range(SIGNALS)
SIZE = 96
FRAMES = 24
FPS = 12
RECIPE = "drawn.json"
KEY_POINTS = "2d_pos"  # under sequence
# which hands draw_contest() says of each signal: the viewer's left is up, the viewer's right is, one of them sweeps
HANDS = [["left", "sweep"], ["left"], ["left", "right"], ["left", "right"], ["left", "sweep"], ["right"]]
SIZES = ["small", "medium", "tall"]  # of officers of less than HEIGHTS[0], HEIGHTS[1], and others
HEIGHTS = (66, 75)  # pixels from head to foot, of SIZE


def draw_sample(folder: str | Path) -> None:
    """Draw the clips that folder/drawn.json asks for and that are not there: file_N.mp4 and file_N.json, as the
    competition numbers them. Raises InputError for another task's drawn.json, and where nothing can be written."""
    folder = Path(folder)
    recipe = read_recipe(folder / RECIPE, ["clips_per_signal", "first_number", "seed", "labelled"])
    clips = order_clips(recipe["clips_per_signal"], recipe["seed"])
    numbers = range(recipe["first_number"], recipe["first_number"] + len(clips))
    missing = [i for i, number in enumerate(numbers) if not is_drawn(folder / f"file_{number}.json")]
    if missing:
        print_once(f"{folder}: drawing {len(missing)} clips")
    for i in missing:
        signal, officer = clips[i]
        frames, boxes, points = draw_clip(signal, np.random.default_rng([recipe["seed"], *officer]))
        name = f"file_{numbers[i]}"
        write_video(folder / f"{name}.mp4", frames)
        # the competition's file has boxes and key points as strings, too
        sequence = {"bounding_box": [[str(value) for value in box] for box in boxes]}
        sequence[KEY_POINTS] = [[f"{value:.1f}" for point in frame for value in point] for frame in points]
        record = {"sequence": sequence, "info": {"width": SIZE, "height": SIZE}}
        write_json(folder / f"{name}.json", {**({"action": signal} if recipe["labelled"] else {}), **record})


def is_drawn(record: Path) -> bool:
    """Whether a clip's file_N.json is there, and holds key points: those of older versions did not."""
    return record.exists() and KEY_POINTS in read_json(record)["sequence"]


def order_clips(clips_per_signal: int, seed: int) -> list[tuple[int, tuple[int, int]]]:
    """(signal, seed of officer and scene) of each clip, in pairs in random order; signals 0 and 4 twice as often as the
    others.

    A pair of 0 and 4 is one officer's strokes, forwards and backwards: file_2k and file_2k+1, which --group_by_number 2
    keeps in one fold.
    """
    pairs = [((RIGHT_TO_LEFT, (0, k)), (LEFT_TO_RIGHT, (0, k))) for k in range(2 * clips_per_signal)]
    for number, (a, b) in enumerate([(STOP_FRONT, STOP_FRONT_AND_REAR), (STOP_BOTH_SIDES, STOP_REAR)]):
        pairs += [((a, (2 * number + 1, k)), (b, (2 * number + 2, k))) for k in range(clips_per_signal)]
    return [clip for i in np.random.default_rng(seed).permutation(len(pairs)) for clip in pairs[i]]


def write_video(path: Path, frames: np.ndarray) -> None:
    """Write (T, H, W, 3) uint8 RGB as mp4; the file appears whole. Raises InputError where it cannot be written."""
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    writer = cv2.VideoWriter(str(temporary), cv2.VideoWriter.fourcc(*"mp4v"), FPS, frames.shape[2:0:-1])
    if not writer.isOpened():
        raise InputError(f"{path}: cannot be written")
    for frame in frames:
        writer.write(frame[..., ::-1])
    writer.release()
    os.replace(temporary, path)


def draw_clip(
    signal: int, random: np.random.Generator
) -> tuple[np.ndarray, list[tuple[int, int, int, int]], list[list[tuple[float, float, float]]]]:
    """Frames (T, H, W, 3) uint8 RGB of one officer; the box x1, y1, x2, y2 around him, and his key points (x, y, 1), in
    each."""
    background = draw_background(random)
    height = random.uniform(0.62, 0.85) * SIZE
    officer = {
        "height": height,
        "x": random.uniform(0.42, 0.58) * SIZE,
        "top": random.uniform(0.04, 0.96 - height / SIZE) * SIZE,
        "vest": random.integers([150, 200, 20], [200, 250, 70]).tolist(),
        "trousers": random.integers([10, 15, 30], [30, 40, 70]).tolist(),
        "skin": (np.array([225, 180, 150]) * random.uniform(0.45, 1.05)).clip(0, 255).tolist(),
        "reach": random.uniform(0.32, 0.4) * height,
    }
    strokes = random.uniform(0.7, 1.1)
    phase = random.uniform(0, 1)
    sway = random.uniform(0, 0.015, 2) * SIZE
    light = random.uniform(0.8, 1.1)
    blur = random.uniform(0, 0.9)
    noise = random.uniform(2, 6)
    frames = []
    boxes = []
    points = []
    for time in np.arange(FRAMES) / FRAMES:
        frame = background.copy()
        dx, dy = sway * np.sin(2 * np.pi * (time + np.array([0.0, 0.3])))
        places = hands(signal, (strokes * time + phase) % 1)
        boxes.append(draw_officer(frame, officer, places, dx, dy))
        points.append(key_points(officer, places, dx, dy))
        frame = cv2.GaussianBlur(frame, (0, 0), blur) if blur > 0.3 else frame
        frame = frame * light + random.normal(0, noise, frame.shape)
        frames.append(frame.clip(0, 255).astype(np.uint8))
    if signal == LEFT_TO_RIGHT:  # drawn as right to left, played backwards
        frames = frames[::-1]
        boxes = boxes[::-1]
        points = points[::-1]
    return np.stack(frames), boxes, points


def hands(signal: int, phase: float) -> list[tuple[float, float]]:
    """Where the hands are: (sideways, upwards) from their shoulders in arm lengths, the viewer's left hand first; phase
    0 to 1: one stroke."""
    down = (0.12, -0.95)
    wave = 0.06 * np.sin(2 * np.pi * phase)
    if signal in (RIGHT_TO_LEFT, LEFT_TO_RIGHT):
        # raised, stretched out across the front above the shoulders, then lowered and brought back as it hangs
        sweep = min(phase / 0.75, 1.0)
        out = np.clip(min(phase, 0.75 - phase) / 0.08, 0.0, 1.0)
        x = 0.3 - np.cos(np.pi * sweep)
        y = 0.25 + 0.6 * np.sin(np.pi * sweep)
        return [(out * x + (1 - out) * down[0], out * y + (1 - out) * down[1]), down]
    if signal == STOP_FRONT:
        return [(-0.1 + wave, 0.95), down]
    if signal == STOP_FRONT_AND_REAR:
        return [(-0.15 + wave, 0.92), (0.75, 0.55 + wave)]
    if signal == STOP_BOTH_SIDES:
        return [(-0.97, 0.08 + wave), (0.97, 0.08 - wave)]
    return [(-0.12, -0.95), (0.75, 0.55 + wave)]


def draw_officer(
    frame: np.ndarray, officer: dict, places: list[tuple[float, float]], dx: float, dy: float
) -> tuple[int, int, int, int]:
    """Draw into frame; returns the box around him."""
    h = officer["height"]
    x = officer["x"] + dx
    top = officer["top"] + dy
    reach = officer["reach"]
    thick = max(2, round(0.075 * h))

    def point(px: float, py: float) -> tuple[int, int]:
        return round(px), round(py)

    shoulder = top + 0.22 * h
    hip = top + 0.55 * h
    foot = top + h
    for side in (-1, 1):
        cv2.line(
            frame,
            point(x + side * 0.05 * h, hip),
            point(x + side * 0.08 * h, foot),
            officer["trousers"],
            thick + 1,
            cv2.LINE_AA,
        )
    cv2.rectangle(frame, point(x - 0.11 * h, shoulder - 0.02 * h), point(x + 0.11 * h, hip), officer["vest"], -1)
    cv2.circle(frame, point(x, top + 0.1 * h), max(2, round(0.07 * h)), officer["skin"], -1, cv2.LINE_AA)
    cv2.rectangle(frame, point(x - 0.08 * h, top), point(x + 0.08 * h, top + 0.06 * h), (20, 25, 60), -1)
    sleeve = [round(0.75 * value) for value in officer["vest"]]
    xs = [x - 0.12 * h, x + 0.12 * h]
    ys = [top, foot]
    for side, (sideways, upwards) in zip((-1, 1), places, strict=True):
        start = x + side * 0.11 * h, shoulder + 0.02 * h
        hand = start[0] + sideways * reach, start[1] - upwards * reach
        cv2.line(frame, point(*start), point(*hand), sleeve, thick, cv2.LINE_AA)
        paddle = start[0] + 1.25 * (hand[0] - start[0]), start[1] + 1.25 * (hand[1] - start[1])
        if upwards > -0.5:  # a hanging hand holds none
            cv2.circle(frame, point(*paddle), round(0.11 * h), (250, 250, 250), -1, cv2.LINE_AA)
            cv2.circle(frame, point(*paddle), round(0.085 * h), (225, 30, 30), -1, cv2.LINE_AA)
        cv2.circle(frame, point(*hand), max(2, round(0.05 * h)), (245, 245, 245), -1, cv2.LINE_AA)
        xs += [hand[0], paddle[0] - 0.1 * h, paddle[0] + 0.1 * h]
        ys += [hand[1], paddle[1] - 0.1 * h, paddle[1] + 0.1 * h]
    return tuple(int(np.clip(value, 0, SIZE)) for value in (min(xs) - 3, min(ys) - 3, max(xs) + 3, max(ys) + 3))


def key_points(
    officer: dict, places: list[tuple[float, float]], dx: float, dy: float
) -> list[tuple[float, float, float]]:
    """x, y and a confidence of 1 of what draw_officer() draws: head, neck, middle of the hips; then of each side, the
    viewer's left first, shoulder, elbow, hand, hip, foot."""
    h = officer["height"]
    x = officer["x"] + dx
    top = officer["top"] + dy
    points = [(x, top + 0.1 * h), (x, top + 0.2 * h), (x, top + 0.55 * h)]
    for side, (sideways, upwards) in zip((-1, 1), places, strict=True):
        shoulder = x + side * 0.11 * h, top + 0.24 * h
        hand = shoulder[0] + sideways * officer["reach"], shoulder[1] - upwards * officer["reach"]
        elbow = (shoulder[0] + hand[0]) / 2, (shoulder[1] + hand[1]) / 2
        points += [shoulder, elbow, hand, (x + side * 0.05 * h, top + 0.55 * h), (x + side * 0.08 * h, top + h)]
    return [(px, py, 1.0) for px, py in points]


def draw_background(random: np.random.Generator) -> np.ndarray:
    """A sky, a road with stripes and some houses, float32 (SIZE, SIZE, 3)."""
    horizon = random.uniform(0.3, 0.6) * SIZE
    sky = random.uniform(90, 230, 3)
    road = random.uniform(50, 130) * random.uniform(0.9, 1.1, 3)
    rows = np.arange(SIZE)[:, None, None]
    image = np.where(rows < horizon, sky - 40 * rows / SIZE, road + 30 * (rows - horizon) / SIZE)
    image = np.ascontiguousarray(np.broadcast_to(image, (SIZE, SIZE, 3)), dtype=np.float32)
    for _ in range(random.integers(2, 6)):
        x = random.uniform(-0.1, 0.9) * SIZE
        width = random.uniform(0.1, 0.35) * SIZE
        height = random.uniform(0.1, 0.5) * SIZE
        corners = (int(x), int(horizon - height)), (int(x + width), int(horizon))
        cv2.rectangle(image, *corners, random.uniform(30, 200, 3).tolist(), -1)
    for stripe in range(random.integers(0, 5)):
        x = (0.1 + 0.2 * stripe) * SIZE
        cv2.rectangle(image, (int(x), int(0.85 * SIZE)), (int(x + 0.08 * SIZE), SIZE), (215.0, 215.0, 215.0), -1)
    # out of focus and pale: clips are few, and a network from scratch would learn their backgrounds by heart
    return cv2.GaussianBlur(130 + 0.35 * (image - 130), (0, 0), 3)


def draw_contest(folder: Path, clips: int) -> None:
    """A contest with all kinds of targets: clips/, train.csv, test.csv (a quarter of the clips) and truth.csv, its
    labels; sample_<target>.csv, whose rows are in another order.

    height: of the officer in pixels, a number; build: small, medium or tall, which have an order; signal: one of three;
    hands: any number of left, right, sweep, separated by semicolons. Raises InputError where nothing can be written.
    """
    rows = []
    for number in range(clips):
        signal = (STOP_FRONT, STOP_BOTH_SIDES, STOP_REAR, LEFT_TO_RIGHT)[number % 4]
        frames, _, points = draw_clip(signal, np.random.default_rng([17, number]))
        path = f"day{number % 3}/{number:04}.mp4"
        (folder / "clips" / path).parent.mkdir(parents=True, exist_ok=True)
        write_video(folder / "clips" / path, frames)
        head, foot = (np.array([frame[place][1] for frame in points]) for place in (0, -1))
        height = float((foot - head).mean()) / 0.9  # key points begin in the middle of the head
        build = SIZES[int(np.searchsorted(HEIGHTS, height))]
        name = "stop" if signal != LEFT_TO_RIGHT else "go"
        rows.append([path, f"{height:.1f}", build, name, ";".join(HANDS[signal])])
    header = ["clip", "height", "build", "signal", "hands"]
    write_contest(folder, header, rows, ["70", "small", "stop", "left;right"])


def main() -> None:
    parser = ArgumentParser("draw.py", __doc__.replace("{task}", Path(__file__).parents[1].name))
    parser.add_argument("folder", type=Path, help="where to write; it must not be there")
    parser.add_argument("--clips", type=int, default=120, help="to draw; a quarter is test.csv")
    args = parser.parse_args()
    if args.folder.exists():
        raise InputError(f"{args.folder}: exists, expected the name of a folder to make")
    if args.clips < 8:
        raise InputError("clips must be 8 or more")
    draw_contest(args.folder, args.clips)
    print_once(f"{args.folder}: {args.clips} clips, targets height, build, signal and hands")


if __name__ == "__main__":
    run_main(main)
