"""transformers' HfArgumentParser without the half second that `import transformers` takes, so that --help answers."""

import importlib.util
import sys
from importlib.machinery import PathFinder
from types import ModuleType

NAME = "transformers.hf_argparser"


def load_argparser() -> ModuleType:
    """transformers.hf_argparser, from its own file alone: in transformers 5.17 to 5.24 it imports nothing of its
    package. Where the package is imported already, or another version's file wants it, as any module."""
    package = importlib.util.find_spec("transformers")
    if package is None or "transformers" in sys.modules:
        return importlib.import_module(NAME)
    spec = PathFinder.find_spec(NAME, package.submodule_search_locations)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ImportError:
        return importlib.import_module(NAME)
    return module
