"""Run folders as train.py leaves them, without a training: for what reads them."""

import numpy as np
import yaml

from common.files import write_json
from common.guards.manifest import write_sealed
from common.logits import Logits
from common.metrics import compute_metrics
from common.targets import Number, Ordered, SeveralLabels

TARGETS = {
    "classes": ["joy", "per:a|b <unk>", "sadness"],
    "several": SeveralLabels(["spam", "insult", "threat"]),
    "number": Number("score"),
    "ordered": Ordered(["bad", "fair", "good"]),
}


def make_logits(kind, skill=2.0, n=120, seed=0, label_names=None):
    """Rows with the same ids and labels for every skill and seed; the seed draws the errors."""
    target = TARGETS[kind] if label_names is None else label_names
    fixed, noise = np.random.default_rng(1), np.random.default_rng(seed)
    ids = [f"row-{i}" for i in range(n)]
    if kind == "number":
        labels = fixed.normal(50, 10, size=n)
        return Logits(ids, (labels + noise.normal(0, 10 / skill, size=n))[:, None], labels, target)
    if kind == "several":
        labels = fixed.integers(2, size=(n, len(target)))
        return Logits(ids, noise.normal(size=labels.shape) + skill * (labels - 0.5), labels, target)
    labels = fixed.integers(len(target), size=n)
    logits = noise.normal(size=(n, len(target)))
    logits[np.arange(n), labels] += skill
    return Logits(ids, logits, labels, target)


def make_run(folder, results, task="contest_of_tests", folds=2, config=(), record=()):
    """A finished run. results: "oof" and "eval" -> Logits."""
    metrics = {name: compute_metrics(part.logits, part.labels, part.label_names) for name, part in results.items()}
    target = next(iter(results.values())).label_names
    names = {"model_name_or_path": "models/mini<lm>", "num_folds": folds, "fold_seed": 0, "metric": None}
    shared = {"task": task, "preset": "tune", "commit": "0123456789", "seconds": {"total": 3723.4}, "data": {}}
    folder.mkdir(parents=True)
    for k in range(folds):
        (folder / f"fold{k}").mkdir()
        key = f"eval_{target.metric}"
        log = [{"loss": 2 / e, "epoch": e} for e in (1, 2, 3)] + [
            {"eval_loss": 2.5 / e, key: e / 4, "epoch": e} for e in (1, 2, 3)
        ]
        write_sealed(folder / f"fold{k}" / "fold.json", {"log_history": log, "logits": []})
    for name, part in results.items():
        part.save(folder / f"{name}_logits.npz")
    write_json(folder / "run.json", shared | dict(record))
    (folder / "config.yaml").write_text(yaml.safe_dump(names | dict(config)))
    write_json(folder / "metrics.json", {**metrics, "folds": [], "train_samples_per_second": 1.0})
    (folder / "report.md").write_text("# report\n")
    return folder
