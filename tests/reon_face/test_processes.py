"""Several processes train on images as one does."""

import json

import pytest
import torch

from tests.tools import learn
from tests.tools.faces import task_path, write_images
from tests.tools.scripts import ROOT, TORCHRUN, launch


@pytest.mark.parametrize("world_size", [2, 3])
@pytest.mark.slow
def test_several_processes_learn_from_images_what_one_does_batch_norm_included(tmp_path, world_size):
    write_images(tmp_path / "images", range(8))
    torch.set_num_threads(1)
    with task_path():
        alone = learn.learn_images(tmp_path, 1)
    command = [*TORCHRUN[:-1], world_size, "-m", "tests.tools.learn", "images", tmp_path]
    launch("env", f"PYTHONPATH={ROOT}", *command, cwd=tmp_path)
    several = json.loads((tmp_path / f"{world_size}.json").read_text())
    assert set(several) == set(learn.IMAGES)
    for name, result in several.items():
        assert learn.farthest(alone[name], result) < 1e-5, name
