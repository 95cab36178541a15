"""Which preset is taken, and what its paths are relative to."""

from pathlib import Path
from typing import Any

from common.console import InputError
from common.files import read_yaml
from common.options.parser import did_you_mean
from common.options.paths import is_folder, relative


def read_preset(path: Path, task_dir: Path | None = None) -> dict[str, Any]:
    """read_yaml(), with absolute paths for values that begin with ./: they are relative to the preset, wherever it
    lies. task_dir: of the presets that a name without its folder may mean.

    Raises InputError for a search's YAML, too.
    """
    beside = Path(path).resolve().parent
    if not Path(path).exists():
        names = [str(Path(path).with_name(other.name)) for other in beside.glob("*.yaml")]
        meant = did_you_mean(str(path), names)
        of_task = task_dir / "configs" / f"{Path(path).stem}.yaml" if task_dir else None
        if of_task and of_task.exists() and not meant:
            meant = f"; did you mean {relative(of_task)}?"
        raise InputError(f"{path}: cannot be read (no such file or directory){meant}")
    preset = read_yaml(path)
    if "coupled" in preset:
        raise InputError(
            f"{path}: is a search, for python -m common.search; expected a preset of train.py, one of those that it "
            "names"
        )
    return {key: placed(value, beside) for key, value in preset.items()}


def placed(value: Any, beside: Path) -> Any:
    """A value whose paths that begin with ./, also those of a list or of a stage, lie in the folder `beside`."""
    if isinstance(value, list):
        return [placed(item, beside) for item in value]
    if isinstance(value, dict):
        return {key: placed(item, beside) for key, item in value.items()}
    return str(beside / value) if isinstance(value, str) and value.startswith("./") else value


def choose_preset(
    config: str | None, task_dir: Path, competition_files: dict[str, str], given: set[str]
) -> tuple[Path, str]:
    """The preset's path and why it was taken. given: the options on the command line."""
    if config is not None:
        return Path(config), "given with --config"
    data_file = task_dir / "data" / competition_files["train_file"]
    final, tune, demo = (relative(task_dir / "configs" / f"{name}.yaml") for name in ("final", "tune", "demo"))
    if data_file.exists():
        return final, f"{relative(data_file)} is there"
    if not demo.exists():
        return final, f"{demo} is not there"
    if "train_file" in given:
        return demo, f"made for a small model from scratch; for a pretrained one --config {tune} or {final}"
    return demo, f"no {relative(data_file)}: bundled sample, small model from scratch"


def resolve_preset(preset: dict[str, Any], base: Path, data_fields: tuple[str, ...]) -> dict[str, Any]:
    """Paths in a preset are relative to the task folder `base`, but for those of read_preset(); in a run's config.yaml
    all are absolute."""
    resolved = dict(preset)
    for key in (*data_fields, "output_dir", "model_name_or_path"):
        value = preset.get(key)
        if isinstance(value, str) and (key != "model_name_or_path" or is_folder(value, base)):
            resolved[key] = str(base / value)
    return resolved


def files_of_others(preset: dict[str, Any], given: set[str], data_fields: tuple[str, ...]) -> list[str]:
    """The preset's files that go with another file than the one on the command line, which stands in front of them:
    with another train_file all, with another test_file the sample; nothing where none is left out."""
    for key, others in ("train_file", data_fields), ("test_file", ("sample_submission_file",)):
        if key in given:
            left = [name for name in others if name not in given and preset.get(name) is not None]
            return [key, *left] if left else []
    return []


def files_there(task_dir: Path, competition_files: dict[str, str], other_files: dict[str, str]) -> dict[str, str]:
    """competition_files, or the others where only their train_file is in <task_dir>/data/."""
    data = task_dir / "data"
    is_other = other_files and not (data / competition_files["train_file"]).exists()
    return other_files if is_other and (data / other_files["train_file"]).exists() else competition_files
