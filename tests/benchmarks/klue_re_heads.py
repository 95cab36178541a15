"""Heads of R-BERT over the states of fine-tuned, then frozen encoders: all rows, all folds, minutes on a CPU.

    python klue_re/train.py --config klue_re/configs/tune.yaml --train_file T.tsv --num_folds 5 --output_dir RUN ...
    python tests/benchmarks/klue_re_heads.py --run_dir RUN --train_file T.tsv --output_dir OUT

The encoder of each fold reads all rows once, and what a head can be fed from its token states is kept in
OUT/fold<k>.npy: the vector of the sentence (first token, mean), of both entities (mean, first token, opening marker)
and of the words around them. On these, each head is trained on the fold's own training rows, with the same batches for
all heads, and predicts the held-out ones. The encoders were fine-tuned under the run's own head, which favours that
one, and no head can change them: a difference here is one of the head alone. Encodings and finished heads are not made
again. Prints, and writes to OUT/heads.md, what tests/benchmarks/paired.py says. With the run's --eval_file also
OUT/ensemble.md: on these rows, which no fold saw, the average of each head's folds and of all heads against the best
single model, the fold of the run that is best on its own validation rows.
"""

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from paired import KLUE_RE_METRICS, paired_table

from common.files import read_json
from common.inference import start_accelerator
from common.logits import Logits, average, concatenate
from common.models import load_fold
from common.run import finished_folds, read_config
from common.text import Collator

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "klue_re"))  # its scripts import each other so

from data import LABEL_FILE, read_examples, read_label_names, read_ner  # noqa: E402
from entities import PREPROCESSING, EntityFormat, mark_and_tokenize, tokenize  # noqa: E402
from metrics import relation_metrics  # noqa: E402
from model import RBertConfig, RelationHead, mean_over  # noqa: E402

VECTORS = (
    "cls_first",
    "cls_mean",
    "e1_mean",
    "e2_mean",
    "e1_first",
    "e2_first",
    "e1_marker",
    "e2_marker",
    "indicators",
)
# name: (options of RBertConfig beside the base's, label smoothing, vectors of sentence and entities, what the source
# says)
BASE = ("cls", "mean")  # cls: the sentence as the run pools it
HEADS = {
    "base": ({}, 0.0, BASE, ""),
    "shared": ({"entity_layer": "shared"}, 0.0, BASE, "worse"),
    "concat_product": ({"concat": ["cls", "e1", "e2", "e1*e2"]}, 0.0, BASE, "worse"),
    "concat_distance": ({"concat": ["cls", "e1", "e2", "|e1-e2|"]}, 0.0, BASE, "worse"),
    "concat_product_distance": ({"concat": ["cls", "e1", "e2", "e1*e2", "|e1-e2|"]}, 0.0, BASE, ""),
    "concat_cls_products": ({"concat": ["cls*e1", "cls*e2"]}, 0.0, BASE, "worse"),
    "concat_cls_products_product": ({"concat": ["cls*e1", "cls*e2", "e1*e2"]}, 0.0, BASE, "worse"),
    "concat_e1_e2": ({"concat": ["e1", "e2"]}, 0.0, BASE, ""),
    "gelu": ({"activation": "gelu"}, 0.0, BASE, "worse"),
    "smoothing_0.05": ({}, 0.05, BASE, "worse"),
    "indicators": ({"head": "indicators"}, 0.0, BASE, "worse"),
    "cls_pooling_mean": ({}, 0.0, ("cls_mean", "mean"), "hoped better"),
    "cls_pooling_first": ({}, 0.0, ("cls_first", "mean"), ""),
    "entity_pooling_first": ({}, 0.0, ("cls", "first"), ""),
    "entity_pooling_marker": ({}, 0.0, ("cls", "marker"), ""),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--run_dir", required=True, type=Path, help="K folds of klue_re/train.py, those that are finished"
    )
    parser.add_argument("--train_file", required=True, help="the run's train_file")
    parser.add_argument("--eval_file", help="the run's eval_file, for an ensemble of heads")
    parser.add_argument("--ner_file", help="the run's ner_file, if it had one")
    parser.add_argument("--label_file", default=LABEL_FILE, help="the run's label_file, if it had one")
    parser.add_argument("--output_dir", required=True, type=Path)
    parser.add_argument("--heads", nargs="+", choices=HEADS, default=list(HEADS), help="beside the base; default: all")
    parser.add_argument("--num_train_epochs", type=int, default=10)
    parser.add_argument("--learning_rate", type=float, default=1e-3)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=42)
    args = parser.parse_args()
    args.output_dir.mkdir(parents=True, exist_ok=True)
    label_names = read_label_names(args.label_file)
    preprocessing = {"label_names": label_names, "ner": read_ner(args.ner_file) if args.ner_file else {}}
    examples = read_examples(args.train_file, preprocessing)
    eval_examples = read_examples(args.eval_file, preprocessing) if args.eval_file else []
    folds = finished_folds(args.run_dir)
    held_out = [Logits.load(fold / "held_out_logits.npz") for fold in folds]
    config = read_config(args.run_dir)
    own_pooling = "cls_mean" if config["cls_pooling"] == "mean" else "cls_first"
    examples = examples[: config["max_train_samples"]]
    ids = [example.id for example in examples]
    measured = {
        row_id for part in held_out for row_id in part.ids.tolist()
    }  # all, or those of the folds that are finished
    labels = torch.tensor([example.label for example in examples])
    eval_ids, eval_labels = [np.array([getattr(example, key) for example in eval_examples]) for key in ("id", "label")]
    results, averages, seconds = {}, {}, 0.0
    for name in dict.fromkeys(["base", *args.heads]):
        path = args.output_dir / f"{name}_logits.npz"
        if not path.exists():
            began, parts, eval_parts = time.perf_counter(), [], []
            for number, (fold, part) in enumerate(zip(folds, held_out, strict=True)):
                vectors = encode(
                    fold, [*examples, *eval_examples], label_names, config, args.output_dir / f"fold{number}.npy"
                )
                outside = np.isin(ids, part.ids)
                logits = train_head(
                    name, vectors, labels, ~outside, len(label_names), own_pooling, args, args.seed + number
                )
                parts.append(
                    Logits(np.array(ids)[outside], logits[: len(ids)][outside], labels.numpy()[outside], label_names)
                )
                eval_parts.append(Logits(eval_ids, logits[len(ids) :], eval_labels, label_names))
            if eval_examples:
                average(eval_parts).save(args.output_dir / f"{name}_eval_logits.npz")
            concatenate(parts, [row_id for row_id in ids if row_id in measured]).save(path)
            print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)
            seconds += time.perf_counter() - began
        results[name] = Logits.load(path)
        if eval_examples:
            averages[f"head {name}, average of the folds"] = Logits.load(args.output_dir / f"{name}_eval_logits.npz")
        table = paired_table(
            results, {name: claim for name, (*_, claim) in HEADS.items()}, seconds, KLUE_RE_METRICS, relation_metrics
        )
        (args.output_dir / "heads.md").write_text(table, encoding="utf-8")
    print("\n" + table)
    if eval_examples:
        own = [Logits.load(fold / "eval_logits.npz") for fold in folds]
        best = max(range(len(folds)), key=lambda k: read_json(folds[k] / "fold.json")["metrics"]["accuracy"])
        rows = {"base": own[best], "the run, average of its folds": average(own), **averages}
        rows["all heads, average of all folds"] = average(list(averages.values()))
        table = paired_table(rows, dict.fromkeys(rows, "hoped better"), seconds, KLUE_RE_METRICS, relation_metrics)
        (args.output_dir / "ensemble.md").write_text(
            f"base: the best single model, {folds[best].name}\n\n{table}", encoding="utf-8"
        )
        print("\n" + table)


@torch.inference_mode()
def encode(fold: Path, examples: list, label_names: list[str], config: dict, path: Path) -> np.ndarray:
    """(rows, len(VECTORS), H) float32 from the fold's encoder, memory-mapped from path, which is written unless it is
    there."""
    if path.exists():
        return np.load(path, mmap_mode="r")
    accelerator = start_accelerator(config)
    model, tokenizer = load_fold(fold, accelerator.device, label_names, PREPROCESSING)
    form, max_length = EntityFormat.of_preprocessing(model.config.preprocessing)
    form = replace(form, head="indicators")
    marked = mark_and_tokenize(examples, form, tokenizer)
    vectors = np.zeros((len(examples), len(VECTORS), model.encoder.config.hidden_size), dtype=np.float32)
    with tempfile.TemporaryDirectory() as cache:
        rows = {  # one for each kind of mask; all else is the same
            kind: tokenize(
                marked, replace(form, entity_pooling=kind), tokenizer, max_length, Path(cache) / f"{kind}.arrow"
            )
            for kind in ("mean", "first", "marker")
        }
        collate = Collator(tokenizer)
        order = np.argsort([len(row.tokens) for row in marked], kind="stable")
        for start in range(0, len(order), 64):
            numbers = order[start : start + 64].tolist()
            batches = {kind: to(collate([part[i] for i in numbers]), accelerator.device) for kind, part in rows.items()}
            batch = batches["mean"]
            inputs = {key: batch[key] for key in ("attention_mask", "token_type_ids") if key in batch}
            embedded = model.encoder.get_input_embeddings()(batch["input_ids"])
            if model.ner_embedding is not None:
                embedded = embedded + model.ner_embedding(batch["ner_ids"])
            with accelerator.autocast():
                states = model.encoder(inputs_embeds=embedded, **inputs).last_hidden_state.float()
            masks = [
                batch["attention_mask"],
                *(part[f"e{number}_mask"] for part in batches.values() for number in (1, 2)),
            ]
            means = [mean_over(states, mask) for mask in (*masks, batch["indicator_mask"])]
            vectors[numbers] = torch.stack([states[:, 0], *means], dim=1).cpu().numpy()
    temporary = path.with_suffix(".tmp.npy")
    np.save(temporary, vectors)
    temporary.rename(path)
    return vectors


def to(batch: dict[str, torch.Tensor], device: torch.device) -> dict[str, torch.Tensor]:
    return {key: value.to(device) for key, value in batch.items()}


def train_head(
    name: str,
    vectors: np.ndarray,
    labels: torch.Tensor,
    inside: np.ndarray,
    num_labels: int,
    own_pooling: str,
    args: argparse.Namespace,
    seed: int,
) -> np.ndarray:
    """Logits (rows, C) of a head trained on the rows `inside` (rows,) bool: AdamW, linear decay to 0, dropout 0.1."""
    options, smoothing, (sentence, entity), _ = HEADS[name]
    torch.manual_seed(seed)
    config = RBertConfig(encoder_config={}, **options)
    sentence = own_pooling if sentence == "cls" else sentence
    names = [sentence, f"e1_{entity}", f"e2_{entity}"] + (["indicators"] if config.head == "indicators" else [])
    inputs = [torch.tensor(vectors[:, VECTORS.index(vector)]) for vector in names]
    head = RelationHead(vectors.shape[2], num_labels, config)
    for parameter in head.parameters():  # as RBertForRelationExtraction begins
        torch.nn.init.normal_(parameter, std=config.initializer_range) if parameter.ndim == 2 else torch.nn.init.zeros_(
            parameter
        )
    rows = torch.tensor(np.flatnonzero(inside))
    steps = args.num_train_epochs * -(-len(rows) // args.batch_size)
    optimizer = torch.optim.AdamW(head.parameters(), lr=args.learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    order = torch.Generator().manual_seed(seed)  # its own, so that all heads see the same batches
    for _ in range(args.num_train_epochs):
        for batch in rows[torch.randperm(len(rows), generator=order)].split(args.batch_size):
            loss = F.cross_entropy(
                head(*(vector[batch] for vector in inputs)), labels[batch], label_smoothing=smoothing
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    head.eval()
    with torch.inference_mode():
        return head(*inputs).numpy()


if __name__ == "__main__":
    main()
