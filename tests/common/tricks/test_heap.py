"""Freed memory is used again, without a page fault for each of its pages."""

import os
import platform
import subprocess
import sys

import pytest

from tests.tools.scripts import ROOT

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc() is another library's")
# A step's largest activation, ten times; the fewest page faults of the last five.
STEPS = """
import resource, torch
from common.tricks.heap import keep_freed_memory
if {keep}:
    print(keep_freed_memory(), end=" ")
faults = []
for _ in range(10):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**24)  # 64 MB
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(min(faults[5:]))
"""


def run(keep, **environment):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    command = [sys.executable, "-c", STEPS.format(keep=keep)]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.split()


@pytest.mark.slow
def test_the_next_step_gets_the_memory_of_the_last_one():
    changed, faults = run(True)
    assert changed == "True"
    assert int(faults) < 1000
    assert int(run(False)[0]) > 10000  # 16,384 pages


@pytest.mark.slow
def test_what_the_environment_says_of_malloc_holds():
    assert run(True, MALLOC_ARENA_MAX="2")[0] == "False"
