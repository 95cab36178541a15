"""What a run was made with: the code's commit, packages and device, for run.json."""

import importlib.metadata
import os
import subprocess
import sys

import torch

PACKAGES = ("torch", "transformers", "accelerate", "datasets", "peft", "scikit-learn", "numpy")


def package_versions() -> dict[str, str]:
    """Version by name."""
    return {name: importlib.metadata.version(name) for name in PACKAGES}


def git_commit() -> str | None:
    """The commit of the checkout that the script runs in, with -dirty where it was changed; None outside of git."""
    folder = os.path.dirname(os.path.abspath(sys.argv[0]))
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError:  # no git on this machine
        return None
    return result.stdout.strip() or None


def device_name() -> str:
    """The GPU's own name; of other accelerators what torch calls them; else cpu."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return str(torch.accelerator.current_accelerator()) if torch.accelerator.is_available() else "cpu"
