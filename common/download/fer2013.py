"""FER2013 as its challenge has it, a CSV of pixels, as folders of labels."""

import csv
import os
import tempfile
from pathlib import Path

from common.console import InputError, print_once

# Of both files that hold all 35,887 images; torchvision.datasets.FER2013 has the same.
MD5 = {"icml_face_data.csv": "b114b9e04e6949e5fe8b6a98b3892b1d", "fer2013.csv": "f8428a1edbd21e88f42c73edd2a14f95"}
LABELS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")  # 0 to 6
PARTS = {"Training": "train", "PublicTest": "eval", "PrivateTest": "test"}  # column Usage
SIDE = 48  # pixels


def write_images(folder: Path) -> None:
    """<folder>/icml_face_data.csv (or fer2013.csv) -> train, eval and test, each <label>/<row>.png; what is there
    stays.

    Raises InputError where the CSV is not the challenge's.
    """
    import numpy as np
    import pooch
    from PIL import Image

    path = next(folder / name for name in MD5 if (folder / name).exists())
    if (found := pooch.file_hash(path, "md5")) != MD5[path.name]:
        raise InputError(f"{path}: its md5 is {found}, FER2013's is {MD5[path.name]}; download it again")
    print_once(f"{path.name}: written as images")
    with tempfile.TemporaryDirectory(dir=folder, prefix=".images") as temporary:
        for part in PARTS.values():
            for label in LABELS:
                Path(temporary, part, label).mkdir(parents=True)
        with open(path, newline="", encoding="utf-8") as file:
            for row, fields in enumerate(csv.DictReader(file, skipinitialspace=True), start=2):
                pixels = np.fromstring(fields["pixels"], dtype=np.uint8, sep=" ").reshape(SIDE, SIDE)
                label = LABELS[int(fields["emotion"])]
                Image.fromarray(pixels).save(Path(temporary, PARTS[fields["Usage"]], label, f"{row}.png"))
        for part in reversed(PARTS.values()):  # train last: it says that the others are there
            if not (folder / part).exists():
                os.replace(Path(temporary, part), folder / part)
