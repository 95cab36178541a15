"""Tiny key points for the tests of hand_signal/: a person of nine points whose one hand tells the class."""

import json

import numpy as np

POINTS = ["head", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_hand", "right_hand"]
POINTS += ["left_hip", "right_hip"]
PARENTS = [0, 0, 0, 1, 2, 3, 4, 1, 2]  # of each point, the head is the root
BODY = np.array(
    [[0, -3], [1, -2], [-1, -2], [1.5, -1], [-1.5, -1], [1.6, 0], [-1.6, 0], [0.6, 0.5], [-0.6, 0.5]], float
)


def person(kind, seed, frames=12, size=(320, 240)):
    """(F, 9, 3) x, y in pixels and confidence: kind 0 raises its left hand, 1 its right, 2 moves a hand from left to
    right, 3 from right to left, with the same postures."""
    random = np.random.default_rng(seed)
    points = np.tile(BODY, (frames, 1, 1))
    if kind in (0, 1):
        points[:, 5 + kind, 1] = -4
    else:
        along = np.linspace(-3, 3, frames) * (1 if kind == 2 else -1)
        points[:, 5] = np.stack([along, np.full(frames, -1.5)], axis=1)
    points += random.normal(0, 0.05, points.shape)
    place = np.array(size) / 2 + random.uniform(-30, 30, 2)
    scale = random.uniform(12, 22)
    return np.concatenate([points * scale + place, random.uniform(0.6, 1, (frames, len(BODY), 1))], axis=-1)


def entry(points, size=(320, 240)):
    """One clip of a --pose_file; frames of NaN are null."""
    frames = [None if np.isnan(frame).all() else np.round(frame, 2).tolist() for frame in points]
    return {"size": list(size), "2d_pos": frames}


def write_posed_clips(folder, kinds, per_kind, frames=12, start=0):
    """<kind>/<kind>_N.mp4, files that are no videos, and the entries of their --pose_file."""
    entries = {}
    for number in range(start, start + per_kind):
        for i, kind in enumerate(kinds):
            path = folder / f"k{kind}" / f"k{kind}_{number}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(f"no video {kind} {number}".encode())
            entries[f"k{kind}/{path.name}"] = entry(person(kind, 1000 * number + i, frames))
    return entries


def write_json(path, content):
    path.write_text(json.dumps(content))
    return path
