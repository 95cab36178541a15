"""What key points are called, which bones join them, which two are each other's mirror image.

layout = read_layout("coco17")            # or a JSON file, --pose_names
layout.pairs                              # [(1, 2), (3, 4), ...]: left and right
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.console import InputError
from common.files import read_json_data

SIDES = ("left_", "right_")

# name -> parent of each point, in the layouts' own order; a root is its own parent.
COCO17 = {
    "nose": "nose", "left_eye": "nose", "right_eye": "nose", "left_ear": "left_eye", "right_ear": "right_eye",
    "left_shoulder": "nose", "right_shoulder": "nose", "left_elbow": "left_shoulder",
    "right_elbow": "right_shoulder", "left_wrist": "left_elbow", "right_wrist": "right_elbow",
    "left_hip": "left_shoulder", "right_hip": "right_shoulder", "left_knee": "left_hip", "right_knee": "right_hip",
    "left_ankle": "left_knee", "right_ankle": "right_knee",
}  # fmt: skip
BLAZEPOSE33 = {
    "nose": "nose", "left_eye_inner": "nose", "left_eye": "left_eye_inner", "left_eye_outer": "left_eye",
    "right_eye_inner": "nose", "right_eye": "right_eye_inner", "right_eye_outer": "right_eye",
    "left_ear": "left_eye_outer", "right_ear": "right_eye_outer", "left_mouth": "nose", "right_mouth": "nose",
    "left_shoulder": "nose", "right_shoulder": "nose", "left_elbow": "left_shoulder",
    "right_elbow": "right_shoulder", "left_wrist": "left_elbow", "right_wrist": "right_elbow",
    "left_pinky": "left_wrist", "right_pinky": "right_wrist", "left_index": "left_wrist",
    "right_index": "right_wrist", "left_thumb": "left_wrist", "right_thumb": "right_wrist",
    "left_hip": "left_shoulder", "right_hip": "right_shoulder", "left_knee": "left_hip", "right_knee": "right_hip",
    "left_ankle": "left_knee", "right_ankle": "right_knee", "left_heel": "left_ankle", "right_heel": "right_ankle",
    "left_foot_index": "left_ankle", "right_foot_index": "right_ankle",
}  # fmt: skip
OPENPOSE25 = {
    "nose": "neck", "neck": "mid_hip", "right_shoulder": "neck", "right_elbow": "right_shoulder",
    "right_wrist": "right_elbow", "left_shoulder": "neck", "left_elbow": "left_shoulder",
    "left_wrist": "left_elbow", "mid_hip": "mid_hip", "right_hip": "mid_hip", "right_knee": "right_hip",
    "right_ankle": "right_knee", "left_hip": "mid_hip", "left_knee": "left_hip", "left_ankle": "left_knee",
    "right_eye": "nose", "left_eye": "nose", "right_ear": "right_eye", "left_ear": "left_eye",
    "left_big_toe": "left_ankle", "left_small_toe": "left_big_toe", "left_heel": "left_ankle",
    "right_big_toe": "right_ankle", "right_small_toe": "right_big_toe", "right_heel": "right_ankle",
}  # fmt: skip
NTU25 = {
    "spine_base": "spine_shoulder", "spine_mid": "spine_shoulder", "neck": "spine_shoulder", "head": "neck",
    "left_shoulder": "spine_shoulder", "left_elbow": "left_shoulder", "left_wrist": "left_elbow",
    "left_hand": "left_wrist", "right_shoulder": "spine_shoulder", "right_elbow": "right_shoulder",
    "right_wrist": "right_elbow", "right_hand": "right_wrist", "left_hip": "spine_base", "left_knee": "left_hip",
    "left_ankle": "left_knee", "left_foot": "left_ankle", "right_hip": "spine_base", "right_knee": "right_hip",
    "right_ankle": "right_knee", "right_foot": "right_ankle", "spine_shoulder": "spine_shoulder",
    "left_hand_tip": "left_hand", "left_thumb": "left_hand", "right_hand_tip": "right_hand",
    "right_thumb": "right_hand",
}  # fmt: skip
LAYOUTS = {"coco17": COCO17, "blazepose33": BLAZEPOSE33, "openpose25": OPENPOSE25, "ntu25": NTU25}


@dataclass(frozen=True)
class Layout:
    """names: (K,). parents: (K,) number of each point's parent, itself for a root; None: no graph is known."""

    names: list[str]
    parents: list[int] | None

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Numbers of the points left_X and right_X."""
        number = {name: i for i, name in enumerate(self.names)}
        left, right = SIDES
        partners = {name: right + name.removeprefix(left) for name in self.names if name.startswith(left)}
        return [(number[name], number[other]) for name, other in partners.items() if other in number]


def read_layout(name: str) -> Layout:
    """One of LAYOUTS, or a JSON file: a list of names, or {"names": [...], "parents": [...]} with a name, a number or
    null (a root) for each point. Raises InputError."""
    if name in LAYOUTS:
        parents = LAYOUTS[name]
        names = list(parents)
        return Layout(names, [names.index(parent) for parent in parents.values()])
    if not Path(name).is_file():
        known = ", ".join(LAYOUTS)
        raise InputError(f"pose_names: {name!r:.80} is neither one of {known} nor a JSON file of names")
    content = read_json_data(Path(name))
    if isinstance(content, list):
        content = {"names": content}
    names = content.get("names") if isinstance(content, dict) else None
    if not isinstance(names, list) or not names or not all(isinstance(n, str) and n for n in names):
        raise InputError(f'{name}: a list of names was expected, or {{"names": [...], "parents": [...]}}')
    if twice := [n for n in names if names.count(n) > 1]:
        raise InputError(f"{name}: the name {twice[0]!r} occurs twice, expected once")
    if content.get("parents") is None:
        return Layout(names, None)
    return Layout(names, read_parents(name, names, content["parents"]))


def read_parents(path: str, names: Sequence[str], given: object) -> list[int]:
    """Numbers of the parents. Raises InputError for another count, a parent that is none, and a circle."""
    if not isinstance(given, list) or len(given) != len(names):
        count = len(given) if isinstance(given, list) else "no list of"
        raise InputError(f"{path}, key parents: {count} parents for {len(names)} names, expected one for each")
    parents = []
    for i, parent in enumerate(given):
        place = i if parent is None else names.index(parent) if parent in names else parent
        if isinstance(place, bool) or not isinstance(place, int) or not 0 <= place < len(names):
            raise InputError(f"{path}, key parents: {parent!r:.60} of {names[i]} is no name and no number of a point")
        parents.append(place)
    for i in range(len(names)):
        at = i
        for _ in names:
            at = parents[at]
        if parents[at] != at:
            raise InputError(f"{path}, key parents: {names[at]} is its own ancestor, the graph has a circle")
    return parents


def swapped_pairs(points: Sequence[np.ndarray], layout: Layout) -> list[str]:
    """Names of pairs whose left and right stand the other way round than those of the other pairs do, in most frames:
    probably in the wrong order. points: of each clip (F, K, 3), NaN where not found."""
    pairs = layout.pairs
    if len(pairs) < 3:
        return []
    frames = np.concatenate(points)[..., 0]
    signs = np.stack([np.sign(frames[:, left] - frames[:, right]) for left, right in pairs])  # (P, frames)
    seen = np.isfinite(signs).all(axis=0)
    if not seen.any():
        return []
    agree = (signs[:, seen] * np.sign(signs[:, seen].sum(axis=0))).mean(axis=1)
    return [
        f"{layout.names[a]} and {layout.names[b]}" for (a, b), value in zip(pairs, agree, strict=True) if value < -0.5
    ]
