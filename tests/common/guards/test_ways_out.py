"""Whichever way one of several processes ends, all end within seconds, and one of them says why."""

import signal
import subprocess
import sys
import time

import pytest

from common.guards.processes import lost
from tests.tools.params import first
from tests.tools.scripts import ENVIRONMENT, ROOT, TORCHRUN

WAY = """
import os, signal, sys, time
import torch
from accelerate import PartialState
from common.console import InputError, Stopped, run_main

way, rank = sys.argv[1], int(os.environ["RANK"])

def main():
    if way == "refused early by one" and rank == 1:
        raise InputError("bad options")
    PartialState(cpu=True)
    for step in range(1000):
        torch.distributed.all_reduce(torch.ones(1000))
        if step < 3:
            continue
        if way == "refused by all" or way == "refused by the second" and rank == 1:
            raise InputError("bad rows")
        if way == "stopped":
            raise Stopped("stopped after epoch 1")
        if way == "killed, the first" and rank == 0 or way == "killed, the second" and rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if way == "killed while the first computes":
            if rank == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            while True:
                torch.randn(300, 300) @ torch.randn(300, 300)
        if way == "Ctrl-C" and rank == 0:
            os.killpg(0, signal.SIGINT)
        time.sleep(0.02)

run_main(main)
"""
GONE = "error: another process of this run has ended; start the same command with --resume to go on"
INTERRUPTED = "interrupted: start the same command with --resume to go on"
WAYS = {
    "refused by the second": (1, "error: bad rows"),
    "killed, the first": (1, GONE),
    "refused by all": (1, "error: bad rows"),
    "refused early by one": (1, "error: bad options"),
    "stopped": (0, "stopped after epoch 1"),
    "killed, the second": (1, GONE),
    "killed while the first computes": (1, INTERRUPTED),
    "Ctrl-C": (1, INTERRUPTED),
}


@pytest.fixture
def script(tmp_path):
    (tmp_path / "way.py").write_text(WAY)
    return tmp_path / "way.py"


@pytest.mark.parametrize("way", first(1, WAYS))
def test_all_processes_end_within_seconds_and_one_says_why(script, way):
    code, sentence = WAYS[way]
    began = time.monotonic()
    command = [*map(str, TORCHRUN), str(script), way]
    result = subprocess.run(
        command, env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False, start_new_session=True
    )
    said = (result.stdout + result.stderr).splitlines()
    assert result.returncode == code, said
    spoken = [line for line in said if line.startswith(("error:", "interrupted:", "stopped"))]
    # the launcher's SIGTERM may come before the other notices, and the other may notice before it comes
    assert spoken == [sentence] or way.startswith("killed") and spoken in ([GONE], [INTERRUPTED]), said
    assert "Traceback" not in "".join(line for line in said if line.startswith("[rank")), said
    assert "SIGABRT" not in result.stderr and "terminate called" not in result.stderr
    assert time.monotonic() - began < 60  # a start and an end; a wait for the process group is 30 minutes


@pytest.mark.slow
def test_without_a_launcher_that_kills_them_the_others_end_too(script):
    """Two processes by hand, the second killed from outside while they work."""
    environment = {
        **ENVIRONMENT,
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "29617",
    }
    command = [sys.executable, str(script), "killed, the second"]
    processes = [
        subprocess.Popen(
            command, env={**environment, "RANK": rank, "LOCAL_RANK": rank}, stderr=subprocess.PIPE, text=True
        )
        for rank in ("0", "1")
    ]
    _, errors = processes[0].communicate(timeout=120)
    assert processes[0].returncode == 2 and errors.splitlines()[-1] == GONE
    processes[1].communicate()
    assert processes[1].returncode == -signal.SIGKILL


def test_only_errors_of_a_collective_call_are_of_another_process():
    assert lost(RuntimeError("[gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:4242"))
    assert "ddp_timeout" in lost(RuntimeError("[gloo/transport] Timed out waiting 1800000ms for recv operation"))
    assert lost(RuntimeError("mat1 and mat2 shapes cannot be multiplied")) is None
    assert lost(RuntimeError("DataLoader timed out after 300 seconds")) is None
    assert lost(ValueError("connection closed")) is None


def test_a_process_that_is_alone_does_not_load_torch_to_end():
    program = "import sys; from common.console import run_main; run_main(lambda: None); print('torch' in sys.modules)"
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, cwd=ROOT, check=False)
    assert result.stdout.strip() == "False", result.stderr
