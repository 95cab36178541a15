"""Upload the finished folds to the model hub."""

from huggingface_hub import HfApi

from common.console import print_once
from common.run import Run

LEFT_OUT = ["checkpoints/*", "rows/*", "*.npz"]


def push_folds(run: Run) -> None:
    """Every fold, with its model card, to hub_model_id (default: named after the run folder); fold<k>/ if K >= 2.

    Call it on the first process.
    """
    training_args = run.training_args
    api = HfApi(token=training_args.hub_token)
    name = training_args.hub_model_id or f"{run.dir.parent.name}-{run.dir.name}"
    repository = api.create_repo(name, private=training_args.hub_private_repo, exist_ok=True).repo_id
    folds = [path.parent for path in sorted(run.dir.glob("fold*/fold.json"))]
    for fold in folds:
        inside = fold.name if len(folds) > 1 else None
        api.upload_folder(repo_id=repository, folder_path=fold, path_in_repo=inside, ignore_patterns=LEFT_OUT)
    print_once(f"pushed {len(folds)} models to {repository}")
