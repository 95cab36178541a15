"""The bundled sample: faces of drawn people with seven emotions, in frames larger than the face, drawn with OpenCV at
first use.

    draw_images("sample/train")                  # as its drawn.json says; data.py does so when the folder is read
    image = draw_face(subject=3, emotion="happy", intensity=1.0, size=128)
    python {task}/sample/draw.py faces --images 300      # faces/: a contest of every kind of target, to be tried
    draw_video("actor.mp4", [("neutral", 0.5), ("happy", 1.0)], subject=3)

A person (head shape, skin, hair, size of eyes and mouth, glasses, beard) is a function of the subject's number alone;
brows, eyes and mouth follow the emotion by its intensity from 0 (neutral) to 1. OpenCV's Haar cascade finds about five
of six of these faces.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from common.console import ArgumentParser, InputError, print_once, run_main
from common.files import atomic_write
from common.new.drawn import read_recipe, write_contest

EMOTIONS = ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]
RECIPE = "drawn.json"
# brow: height of the inner and of the outer end (1 up), eye: how far open, gaze (1 down), mouth: corners (1 up), open,
# width, nose: wrinkle
POSES = {
    "neutral": {"inner": 0.0, "outer": 0.0, "eye": 1.0, "corner": 0.0, "open": 0.0, "wide": 1.0, "wrinkle": 0.0},
    "angry": {"inner": -1.0, "outer": 0.6, "eye": 0.75, "corner": -0.35, "open": 0.12, "wide": 0.9, "wrinkle": 0.3},
    "disgust": {"inner": -0.5, "outer": -0.3, "eye": 0.5, "corner": -0.6, "open": 0.15, "wide": 0.75, "wrinkle": 1.0},
    "fear": {"inner": 0.9, "outer": 0.1, "eye": 1.3, "corner": -0.35, "open": 0.35, "wide": 1.15, "wrinkle": 0.0},
    "happy": {"inner": 0.2, "outer": 0.2, "eye": 0.7, "corner": 1.0, "open": 0.35, "wide": 1.3, "wrinkle": 0.0},
    "sad": {"inner": 0.7, "outer": -0.7, "eye": 0.65, "corner": -0.9, "open": 0.0, "wide": 0.85, "wrinkle": 0.0},
    "surprise": {"inner": 1.0, "outer": 1.0, "eye": 1.35, "corner": 0.0, "open": 1.0, "wide": 0.65, "wrinkle": 0.0},
}
SKINS = [(150, 190, 235), (130, 170, 220), (105, 145, 200), (75, 110, 165), (60, 85, 130)]  # BGR
WHITE = (235, 235, 240)
AGES = (20.0, 80.0)  # of the youngest and the oldest of draw_contest(): none of the hair is white, or all of it
STAGES = ["young", "middle-aged", "old"]
HAIRS = [(25, 25, 30), (30, 45, 75), (45, 80, 130), (60, 60, 65), (90, 130, 170)]


def draw_face(
    subject: int,
    emotion: str,
    intensity: float,
    size: int,
    wobble: Sequence[float] = (0.0, 0.0, 0.0),
    grey: float = 0.0,
) -> np.ndarray:
    """A face with hair and neck on a plain ground, (size, size, 3) uint8 BGR; the face fills about half of it.

    intensity: 0 neutral, 1 the whole expression. wobble: sideways and downwards in shares of size, turn in degrees.
    grey: share of the hair, of brows and beard that is white.
    """
    person = np.random.default_rng([7, subject])
    skin = np.array(SKINS[person.integers(len(SKINS))], float) * person.uniform(0.93, 1.05)
    hair = HAIRS[person.integers(len(HAIRS))]
    if grey > 0:
        hair = tuple((1 - grey) * np.array(hair) + grey * np.array(WHITE))
    ground = person.uniform(90, 200, 3)
    width = person.uniform(0.21, 0.25)
    height = person.uniform(0.29, 0.33)
    eye_apart = person.uniform(0.09, 0.105)
    eye_size = person.uniform(0.032, 0.042)
    eye_high = person.uniform(0.05, 0.07)
    mouth_wide = person.uniform(0.075, 0.095)
    brow_thick = person.uniform(0.014, 0.024)
    glasses = person.random() < 0.15
    beard = person.random() < 0.15
    long_hair = person.random() < 0.5
    pose = {key: (1 - intensity) * POSES["neutral"][key] + intensity * value for key, value in POSES[emotion].items()}

    s = 4 * 128  # drawn large and reduced, so that lines are soft
    image = np.full((s, s, 3), ground, np.uint8)
    cx = 0.5
    cy = 0.5

    def at(x: float, y: float) -> tuple[int, int]:
        return round((cx + x) * s), round((cy + y) * s)

    def oval(
        x: float,
        y: float,
        rx: float,
        ry: float,
        color: Sequence[float],
        start: float = 0,
        end: float = 360,
        thick: int = -1,
    ) -> None:
        cv2.ellipse(
            image,
            at(x, y),
            (max(1, round(rx * s)), max(1, round(ry * s))),
            0,
            start,
            end,
            tuple(map(float, color)),
            thick,
            cv2.LINE_AA,
        )

    def curve(points: Sequence[tuple[float, float]], color: Sequence[float], thick: float) -> None:
        (x0, y0), (x1, y1), (x2, y2) = points
        t = np.linspace(0, 1, 24)[:, None]
        line = (1 - t) ** 2 * np.array([x0, y0]) + 2 * t * (1 - t) * np.array([x1, y1]) + t**2 * np.array([x2, y2])
        pixels = np.array([at(x, y) for x, y in line], np.int32)
        cv2.polylines(image, [pixels], False, tuple(map(float, color)), max(1, round(thick * s)), cv2.LINE_AA)

    dark = skin * 0.62
    cv2.rectangle(image, at(-0.09, 0.2), at(0.09, 0.5), tuple(map(float, skin * 0.82)), -1)
    oval(0, 0.56, 0.32, 0.16, person.uniform(40, 200, 3))
    if long_hair:
        oval(0, 0.02, width + 0.06, height + 0.07, hair)
    for side in (-1, 1):
        oval(side * width, 0.0, 0.03, 0.055, skin * 0.88)
    oval(0, 0, width, height, skin)
    oval(0, -0.03, width * 0.8, height * 0.75, np.minimum(skin * 1.12, 255))  # forehead and cheeks catch the light
    oval(0, -height * 0.72, width * 0.95, height * 0.38, hair)
    oval(0, -height * 0.38, width * 0.75, height * 0.22, np.minimum(skin * 1.12, 255))
    if beard:
        oval(0, 0.2, width * 0.75, 0.11, 0.5 * skin + 0.5 * np.array(hair))
    for side in (-1, 1):
        x = side * eye_apart
        y = -eye_high
        opening = eye_size * 0.62 * pose["eye"]
        oval(x, y - 0.005, eye_size * 1.7, eye_size * 1.5, dark)  # the socket is darker than forehead and cheek
        oval(x, y, eye_size * 1.25, opening, (240, 240, 240))
        oval(x, y, min(eye_size * 0.62, opening * 1.05), min(eye_size * 0.62, opening * 1.05), (40, 40, 45))
        oval(x, y, eye_size * 1.25, opening, (30, 30, 35), 180, 360, round(0.009 * s))
        inner = x - side * eye_size * 1.1
        outer = x + side * eye_size * 1.5
        high = y - eye_size * 1.75
        ends = (
            (inner, high - 0.03 * pose["inner"]),
            (x, high - 0.014 - 0.015 * (pose["inner"] + pose["outer"])),
            (outer, high + 0.006 - 0.03 * pose["outer"]),
        )
        curve(ends, np.array(hair) * 0.8, brow_thick)
        if glasses:
            oval(x, y, eye_size * 1.9, eye_size * 1.6, (35, 35, 35), thick=round(0.007 * s))
    curve([(-0.012, -0.05), (-0.045, 0.06), (-0.01, 0.075)], dark, 0.01)
    curve([(-0.035, 0.07), (0, 0.09), (0.035, 0.07)], dark * 0.8, 0.012)
    for line in (-1, 0, 1) if pose["wrinkle"] > 0.2 else ():
        curve(
            [(-0.022, -0.035 + 0.02 * line), (0, -0.05 + 0.02 * line), (0.022, -0.035 + 0.02 * line)],
            dark * 0.75,
            0.006 * pose["wrinkle"],
        )
    half = mouth_wide * pose["wide"]
    y = 0.155
    lift = 0.035 * pose["corner"]
    opening = 0.065 * pose["open"]
    lips = skin * np.array([0.62, 0.55, 0.8])
    if opening > 0.004:
        t = np.linspace(-1, 1, 24)
        upper = np.stack([half * t, y - lift * t**2 - opening * 0.45 * (1 - t**2) + lift * 0.4], 1)
        lower = np.stack([half * t, y - lift * t**2 + (opening * 0.9 + 0.3 * abs(lift)) * (1 - t**2) + lift * 0.4], 1)[
            ::-1
        ]
        outline = np.array([at(px, py) for px, py in np.concatenate([upper, lower])], np.int32)
        cv2.fillPoly(image, [outline], (45, 30, 70), cv2.LINE_AA)
        if pose["corner"] > 0.3:
            teeth = np.array(
                [at(px * 0.85, py + 0.006) for px, py in upper] + [at(px * 0.85, py + 0.02) for px, py in upper[::-1]],
                np.int32,
            )
            cv2.fillPoly(image, [teeth], (235, 240, 240), cv2.LINE_AA)
        cv2.polylines(image, [outline], True, tuple(map(float, lips)), round(0.014 * s), cv2.LINE_AA)
    else:
        curve([(-half, y - lift), (0, y + lift), (half, y - lift)], lips, 0.02)
    turn = cv2.getRotationMatrix2D((s / 2, s / 2), wobble[2], 1.0)
    turn[:, 2] += np.array(wobble[:2]) * s
    image = cv2.warpAffine(image, turn, (s, s), borderMode=cv2.BORDER_REPLICATE)
    image = cv2.GaussianBlur(image, (0, 0), 0.004 * s)
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)


def draw_frame(
    subject: int, emotion: str, intensity: float, height: int, width: int, random: np.random.Generator
) -> np.ndarray:
    """A frame (height, width, 3) uint8 BGR with one face somewhere in it, before boxes and lines, with noise and some
    light."""
    frame = np.full((height, width, 3), random.uniform(60, 210, 3), np.float32)
    for _ in range(6):
        corner = random.uniform(-0.2, 1, 2) * (width, height)
        extent = random.uniform(0.1, 0.5, 2) * (width, height)
        cv2.rectangle(
            frame,
            corner.astype(int).tolist(),
            (corner + extent).astype(int).tolist(),
            random.uniform(40, 220, 3).tolist(),
            -1,
        )
    frame = cv2.GaussianBlur(frame, (0, 0), 0.01 * height)
    size = round(random.uniform(0.7, 0.95) * min(height, width))
    wobble = (*random.uniform(-0.02, 0.02, 2), random.uniform(-6, 6))
    face = draw_face(subject, emotion, intensity, size, wobble).astype(np.float32)
    x = random.integers(0, width - size + 1)
    y = random.integers(0, height - size + 1)
    mask = np.zeros((size, size, 1), np.float32)
    cv2.ellipse(mask, (size // 2, size // 2), (round(0.42 * size), round(0.5 * size)), 0, 0, 360, 1.0, -1)
    mask = cv2.GaussianBlur(mask, (0, 0), 0.02 * size)[..., None]
    frame[y : y + size, x : x + size] = mask * face + (1 - mask) * frame[y : y + size, x : x + size]
    frame = frame * random.uniform(0.8, 1.15) + random.normal(0, random.uniform(1, 4), frame.shape)
    return frame.clip(0, 255).astype(np.uint8)


def draw_crop(
    subject: int, emotion: str, intensity: float, size: int, random: np.random.Generator, grey: float = 0.0
) -> np.ndarray:
    """The face alone, (size, size, 3) uint8 BGR, as a detector would cut it out: a little off, turned, with noise and
    some light."""
    wobble = (*random.uniform(-0.02, 0.02, 2), random.uniform(-6, 6))
    drawn = draw_face(subject, emotion, intensity, round(size / 0.56), wobble, grey)
    left, top = ((len(drawn) - size) / 2 + random.uniform(-0.03, 0.03, 2) * size).round().astype(int)
    crop = drawn[top : top + size, left : left + size] * random.uniform(0.8, 1.15)
    return (crop + random.normal(0, random.uniform(1, 4), crop.shape)).clip(0, 255).astype(np.uint8)


def draw_images(folder: str | Path) -> None:
    """Draw the images that folder/drawn.json asks for and that are not there.

    drawn.json: subjects and first_subject, images (of each emotion and subject), seed, labelled, and size of faces or
    height and width of frames. Labelled images are <emotion>/s<subject>_<number>.jpg, others image_<number>.jpg in
    random order. Raises InputError for another task's drawn.json, and where nothing can be written.
    """
    folder = Path(folder)
    recipe = read_recipe(folder / RECIPE, ["subjects", "first_subject", "images", "seed", "labelled"])
    subjects = range(recipe["first_subject"], recipe["first_subject"] + recipe["subjects"])
    wanted = [
        (emotion, subject, number) for emotion in EMOTIONS for subject in subjects for number in range(recipe["images"])
    ]
    if recipe["labelled"]:
        paths = [folder / emotion / f"s{subject}_{number}.jpg" for emotion, subject, number in wanted]
    else:
        order = np.random.default_rng(recipe["seed"]).permutation(len(wanted))
        paths = [folder / f"image_{place}.jpg" for place in order]
    missing = [(path, *what) for path, what in zip(paths, wanted, strict=True) if not path.exists()]
    if missing:
        print_once(f"{folder}: drawing {len(missing)} images")
    for path, emotion, subject, number in missing:
        random = np.random.default_rng([recipe["seed"], EMOTIONS.index(emotion), subject, number])
        intensity = random.uniform(0.6, 1.0)
        if "size" in recipe:
            image = draw_crop(subject, emotion, intensity, recipe["size"], random)
        else:
            image = draw_frame(subject, emotion, intensity, recipe["height"], recipe["width"], random)
        write_image(path, image)


def write_image(path: Path, image: np.ndarray) -> None:
    """Write a JPEG that appears whole. Raises InputError where it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path, "wb") as file:
            file.write(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 88])[1].tobytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror.lower()})") from error


def draw_video(
    path: str | Path,
    script: Sequence[tuple[str, float]],
    subject: int,
    *,
    seconds: float = 4.0,
    fps: float = 12.0,
    height: int = 240,
    width: int = 320,
    seed: int = 0,
) -> None:
    """A person who goes through (emotion, intensity) in equal times, each rising from neutral and falling back, as mp4
    (mp4v).

    The head moves a little, as seed says. Raises InputError where the file cannot be written.
    """
    random = np.random.default_rng([11, seed])
    phases = random.uniform(0, 2 * np.pi, 3)
    ground = random.uniform(60, 200, 3)
    size = round(0.85 * min(height, width))
    left = round(random.uniform(0.2, 0.8) * (width - size))
    top = (height - size) // 2
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, (width, height))
    if not writer.isOpened():
        raise InputError(f"{path}: cannot be written")
    for number in range(round(seconds * fps)):
        place = number / (seconds * fps) * len(script)
        emotion, intensity = script[int(place)]
        strength = intensity * np.sin(np.pi * (place % 1)) ** 0.5
        sway = np.sin(2 * np.pi * number / fps * np.array([0.3, 0.4, 0.25]) + phases)
        frame = np.full((height, width, 3), ground, np.uint8)
        face = draw_face(subject, emotion, strength, size, (0.02 * sway[0], 0.015 * sway[1], 3 * sway[2]))
        frame[top : top + size, left : left + size] = face
        writer.write(frame)
    writer.release()


def draw_contest(folder: Path, images: int, size: int) -> None:
    """A contest with all kinds of targets: images/, train.csv, test.csv (a quarter of the images) and truth.csv, its
    labels; sample_<target>.csv, whose rows are in another order.

    age: a number that the hair shows; stage: its third, in words that have an order; emotion: one of two; seen: any
    number of brows (raised), mouth (open), grey (half of the hair or more), as a JSON list. Raises InputError where
    nothing can be written.
    """
    rows = []
    for number in range(images):
        random = np.random.default_rng([13, number])
        emotion = str(random.choice(["neutral", "sad", "happy", "surprise"]))
        grey = float(random.uniform())
        age = AGES[0] + (AGES[1] - AGES[0]) * grey
        path = f"part{number % 3}/{number:04}.jpg"
        write_image(folder / "images" / path, draw_crop(1000 + number, emotion, 1.0, size, random, grey))
        pose = POSES[emotion]
        seen = {"brows": pose["inner"] > 0.5, "mouth": pose["open"] > 0.3, "grey": grey > 0.5}
        stage = STAGES[min(2, int(3 * grey))]
        mood = "bad" if emotion in ("neutral", "sad") else "good"
        rows.append([path, f"{age:.1f}", stage, mood, json.dumps([name for name in seen if seen[name]])])
    write_contest(folder, ["path", "age", "stage", "mood", "seen"], rows, ["50", STAGES[0], "bad", "[]"])


def main() -> None:
    parser = ArgumentParser("draw.py", __doc__.replace("{task}", Path(__file__).parents[1].name))
    parser.add_argument("folder", type=Path, help="where to write; it must not be there")
    parser.add_argument("--images", type=int, default=300, help="to draw; a quarter is test.csv")
    parser.add_argument("--size", type=int, default=64, help="height and width in pixels")
    args = parser.parse_args()
    if args.folder.exists():
        raise InputError(f"{args.folder}: exists, expected the name of a folder to make")
    if args.images < 8 or args.size < 16:
        raise InputError("images must be 8 or more, size 16 or more")
    draw_contest(args.folder, args.images, args.size)
    print_once(f"{args.folder}: {args.images} images, targets age, stage, mood and seen")


if __name__ == "__main__":
    run_main(main)
