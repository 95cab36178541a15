"""Runs a training script in this process and writes how long its training takes.

    python tests/benchmarks/timed.py TIMES.json FUNCTION SCRIPT [its options]

FUNCTION: Trainer.train of transformers, or a function of the script itself that its main() calls, as train_one_epoch.
TIMES.json: wall, the seconds spent in it, and cpu, the CPU seconds of this process and of its data loader's workers.
"""

import importlib.util
import json
import os
import resource
import runpy
import sys
import time
from collections.abc import Callable
from typing import Any

import psutil

TRAINER = "Trainer.train"


class Timer:
    """Sums up what the calls of a function take."""

    def __init__(self):
        self.wall = 0.0
        self.cpu = 0.0

    def __call__(self, function: Callable) -> Callable:
        def timed(*args: Any, **kwargs: Any) -> Any:
            wall, cpu = time.perf_counter(), cpu_seconds()
            output = function(*args, **kwargs)
            self.wall += time.perf_counter() - wall
            self.cpu += cpu_seconds() - cpu
            return output

        return timed


def cpu_seconds() -> float:
    """Of this process, of its children that have ended, and of those that run."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    running = [child.cpu_times() for child in psutil.Process().children(recursive=True)]
    return time.process_time() + ended.ru_utime + ended.ru_stime + sum(used.user + used.system for used in running)


def main() -> None:
    path, function, *sys.argv = sys.argv[1:]
    script = sys.argv[0]
    sys.path.insert(0, os.path.dirname(script))
    timer = Timer()
    if function == TRAINER:
        from transformers import Trainer

        Trainer.train = timer(Trainer.train)
        runpy.run_path(script, run_name="__main__")
    else:
        spec = importlib.util.spec_from_file_location("timed_script", script)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        setattr(module, function, timer(getattr(module, function)))
        module.main()
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"wall": timer.wall, "cpu": timer.cpu}, file)


if __name__ == "__main__":
    main()
