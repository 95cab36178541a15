"""Download the model of a preset into a folder, for machines without a network (a Kaggle notebook, say).

python -m common.offline friends/configs/final.yaml FOLDER      # where there is a network
python friends/train.py --config FOLDER/final.yaml              # where there is none; FOLDER may lie anywhere
"""

import shutil  # PYTHON_ARGCOMPLETE_OK
from pathlib import Path
from typing import Any

import yaml

from common.console import ArgumentParser, InputError, first_line, print_once, run_main
from common.files import atomic_write, read_yaml
from common.options.checks import check_folder
from common.options.fields import ModelArguments
from common.options.presets import read_preset
from common.options.task_module import arguments_of, load_data_module

# What from_pretrained reads of a repository, in its top folder.
SETTINGS = ["*.json", "*.txt", "*.model"]  # configuration, and all kinds of tokenizers
SAFETENSORS = ["model*.safetensors"]
TORCH = ["pytorch_model*.bin"]
HUB = "hub"  # pretrained_weights: hub names timm's weights


def main() -> None:
    parser = ArgumentParser("python -m common.offline", __doc__)
    parser.add_argument("preset", type=Path, help="YAML preset of a train.py")
    parser.add_argument("folder", type=Path, help="the model and <preset>.yaml go here")
    args = parser.parse_args()
    preset = read_yaml(args.preset)
    check_folder(args.folder, "folder")
    path = args.folder / args.preset.name
    if path.exists() and path.samefile(args.preset):
        raise InputError(f"{path}: is the preset itself; name another folder")
    preset |= fetch(read_preset(args.preset), args.preset.resolve().parents[1], args.folder)
    with atomic_write(path) as file:
        file.write("# Runs without a network; a path that begins with ./ is relative to this file.\n")
        yaml.safe_dump(preset, file, sort_keys=False, allow_unicode=True)
    print_once(f"without a network: --config {path}")


def fetch(preset: dict[str, Any], task_dir: Path, folder: Path) -> dict[str, str]:
    """Bring the preset's model, and its weights, into `folder`; the fields that name them there."""
    name = str(preset.get("model_name_or_path", "scratch"))
    weights = preset.get("pretrained_weights")
    repository = repository_of(name, weights, task_dir)
    target = folder / Path(name).name
    changes = {"model_name_or_path": f"./{target.name}"}
    if (task_dir / name).is_dir():
        shutil.copytree(task_dir / name, target, dirs_exist_ok=True)
    elif repository and (is_hub_id(name) or uses_transformers(task_dir)):
        download(name, target, ["*.py"] if preset.get("trust_remote_code") else [])
    elif repository:
        download(repository, target, [])
        if weights == HUB:
            changes = {"pretrained_weights": f"./{target.name}/model.safetensors"}
    else:
        changes = {}  # the task builds it
    if weights not in (None, HUB):
        if not Path(weights).is_file():
            raise InputError(f"{weights}: no such file (pretrained_weights)")
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(weights, folder)
        changes["pretrained_weights"] = f"./{Path(weights).name}"
    return changes


def repository_of(name: str, weights: str | None, task_dir: Path) -> str | None:
    """The hub's repository that a model comes from; None where it lies in a folder, or the task builds it.

    name, weights: model_name_or_path and pretrained_weights of a preset.
    """
    if name == "scratch" or (task_dir / name).is_dir():
        return None
    if is_hub_id(name) or uses_transformers(task_dir):
        return name
    return timm_repository(name) if weights == HUB or not name.startswith("timm/") else None


def is_hub_id(name: str) -> bool:
    """Whether a name is <owner>/<model>; timm/<model> is a model that hand_signal builds from timm."""
    return "/" in name and not name.startswith("timm/")


def uses_transformers(task_dir: Path) -> bool:
    """Whether a name without a slash is transformers', as bert-base-cased; else it is timm's or the task's own. A lone
    preset: yes."""
    return not (task_dir / "data.py").is_file() or issubclass(arguments_of(load_data_module(task_dir)), ModelArguments)


def timm_repository(name: str) -> str | None:
    """The hub's repository of a timm model's weights; None where timm has no such model."""
    import timm

    architecture = name.removeprefix("timm/")
    return timm.get_pretrained_cfg(architecture).hf_hub_id if timm.is_model(architecture) else None


def download(name: str, target: Path, more: list[str]) -> None:
    """The files of a hub repository that from_pretrained reads. Raises InputError where they cannot be had."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        snapshot_download(
            name, local_dir=target, allow_patterns=[*SETTINGS, *SAFETENSORS, *more], ignore_patterns=["*/*"]
        )
        if not any(target.glob(SAFETENSORS[0])):
            snapshot_download(name, local_dir=target, allow_patterns=TORCH, ignore_patterns=["*/*"])
    except GatedRepoError as error:
        raise InputError(
            f"model_name_or_path: {name} is gated; accept its terms at hf.co/{name}, log in with `hf auth login`"
        ) from error
    except RepositoryNotFoundError as error:
        raise InputError(
            f"model_name_or_path: the hub has no model {name}, or it is private (log in with `hf auth login`)"
        ) from error
    except (OSError, ValueError) as error:
        raise InputError(f"model_name_or_path: {name} cannot be had from the hub ({first_line(error)})") from error
    if not [*target.glob(SAFETENSORS[0]), *target.glob(TORCH[0])]:
        raise InputError(
            f"model_name_or_path: the repository {name} holds no weights that can be loaded (model.safetensors)"
        )
    shutil.rmtree(target / ".cache", ignore_errors=True)  # how far the download was


if __name__ == "__main__":
    run_main(main, again="start the same command to go on")
