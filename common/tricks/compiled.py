"""torch.compile for rows of all lengths: one graph whose shapes are variables, not one a length.

Without that, a graph is made for the first batch's shape, one more for shapes that vary, and with `accelerate launch
--dynamo_backend` (which says dynamic=False) one for each shape, until torch gives up at the eighth and goes on without.
A graph of variable shapes is made anew where a size is 1, and where the model is used in another way: no gradients,
another precision.
"""

import os
import shutil
import sys
from collections.abc import Callable
from importlib.util import find_spec
from threading import Lock
from typing import TYPE_CHECKING, Any

import torch

from common.console import InputError
from common.guards.options import TEXTS
from common.logits import Logits

if TYPE_CHECKING:
    from datasets import Dataset


def check_compiler(on_cpu: bool, backend: str = "inductor") -> None:
    """Raise InputError where inductor, torch's default backend, lacks what makes its code."""
    if backend != "inductor":
        return
    # torch._inductor.config: cpp.cxx
    compiler = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    if on_cpu and not shutil.which(compiler):
        raise InputError(f"torch_compile: on a CPU it needs a C++ compiler, and {compiler} is not there; leave it out")
    if not on_cpu and find_spec("triton") is None:
        raise InputError("torch_compile: on a GPU it needs the package triton, which is not installed; leave it out")


def set_shapes(loop: str, training_args: Any) -> None:
    """For a training that compiles: variable shapes for texts, as torch finds them for the others, whose shapes are
    the same but for a last batch. Raises InputError as check_compiler() does. loop: who reads the TrainingArguments."""
    check_compiler(training_args.use_cpu, training_args.torch_compile_backend)
    # accelerate's TorchDynamoPlugin reads it; transformers sets the backend in the same way
    os.environ.pop("ACCELERATE_DYNAMO_USE_DYNAMIC", None)
    if loop == TEXTS:
        os.environ["ACCELERATE_DYNAMO_USE_DYNAMIC"] = "true"


class CompiledModel(torch.nn.Module):
    """A model that is compiled at its first batch. The folds of a run share their graph, which has no weights in it."""

    def __init__(self, model: torch.nn.Module, threads: int, backend: str):
        super().__init__()
        self.model = torch.compile(model, dynamic=True, backend=backend)
        self.threads = threads
        self.lock = Lock()  # because torch.compile traces in one thread at a time

    def forward(self, **inputs: torch.Tensor) -> Any:
        with self.lock:
            torch.set_num_threads(self.threads)  # which common/workers/threads.py has shared out
            return self.model(**inputs)


class Compiled:
    """predict_logits() with compiled models: a batch at a time, on all cores of a CPU."""

    def __init__(self, device: torch.device, predict: Callable[..., Logits], backend: str = "inductor"):
        check_compiler(device.type == "cpu", backend)
        self.predict = predict
        self.backend = backend
        self.threads = torch.get_num_threads()

    def __call__(self, model: torch.nn.Module, rows: "Dataset", *how: Any) -> Logits:
        return self.predict(CompiledModel(model.eval(), self.threads, self.backend), rows, *how)
