"""Several processes train on clips as one does."""

import json

import pytest
import torch

from tests.tools import learn
from tests.tools.scripts import ROOT, TORCHRUN, launch
from tests.tools.videos import write_competition


@pytest.mark.parametrize("world_size", [2, 3])
@pytest.mark.slow
def test_several_processes_learn_from_clips_what_one_does_batch_norm_included(tmp_path, scripts, world_size):
    write_competition(tmp_path / "clips", [number % 3 for number in range(29)])
    torch.set_num_threads(1)
    alone = learn.learn_clips(tmp_path, 1)
    command = [*TORCHRUN[:-1], world_size, "-m", "tests.tools.learn", "clips", tmp_path]
    launch("env", f"PYTHONPATH={ROOT}", *command, cwd=tmp_path)
    several = json.loads((tmp_path / f"{world_size}.json").read_text())
    assert set(several) == set(learn.CLIPS)
    for name, result in several.items():
        assert learn.farthest(alone[name], result) < 1e-5, name
