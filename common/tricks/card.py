"""The model card of a fold: what it was made from, and its numbers."""

from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from common.targets import Classes


def model_card(config: dict[str, Any], info: dict[str, Any], pipeline_tag: str, target: Classes) -> str:
    """A model card (Markdown with the hub's metadata) that holds the fold's numbers."""
    base = Path(config["model_name_or_path"]).name
    data = Path(config["train_file"])
    results = [
        EvalResult(
            task_type=pipeline_tag,
            dataset_type="private",
            dataset_name=data.name,
            metric_type=kind,
            metric_value=round(info["metrics"][key], 4),
        )
        for key, kind in target.card.items()
    ]
    name = f"{base}-{data.stem}"
    tags = {"library_name": "transformers", "pipeline_tag": pipeline_tag}
    header = ModelCardData(model_name=name, eval_results=results, **tags).to_yaml()
    cells = {key: f"{value:.4f}" if isinstance(value, float) else value for key, value in info["metrics"].items()}
    metrics = "\n".join(f"| {key} | {cell} |" for key, cell in cells.items())
    settings = "\n".join(f"| {key} | {value} |" for key, value in config.items())
    return str(
        ModelCard(
            f"---\n{header}\n---\n\n# {name}\n\n"
            f"Fine-tuned from `{base}`. Scores on rows that it was not trained on:\n\n"
            f"| metric | value |\n|---|---|\n{metrics}\n\n| field | value |\n|---|---|\n{settings}\n"
        )
    )
