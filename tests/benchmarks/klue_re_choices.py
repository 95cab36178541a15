"""The source's table of variations, end to end: each setting against the base on the same folds of klue_re/.

    python tests/benchmarks/klue_re_choices.py --train_file T.tsv --model_name_or_path MODEL --output_dir OUT -- \
        --max_train_samples 3000 --num_folds 3 --num_train_epochs 3 --learning_rate 5e-5 --head_learning_rate 2e-3 \
        --freeze_word_embeddings --bf16
    # a GPU
    python tests/benchmarks/klue_re_choices.py --train_file T.tsv --config klue_re/configs/final.yaml --output_dir OUT -- --bf16

What stands after -- goes to every klue_re/train.py; settings that read entity types need --ner_file, the relabelled
rows --label_fixes, and both are left out, and said, without. Finished settings are not trained again, so that a stopped
comparison goes on. Prints, and writes to OUT/choices.md after each setting, what tests/benchmarks/paired.py says.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from paired import KLUE_RE_METRICS, paired_table

from common.files import read_json
from common.logits import Logits

TASK = Path(__file__).parents[2] / "klue_re"
sys.path.insert(0, str(TASK))
from metrics import relation_metrics  # noqa: E402

# folder: (options beside the base's: markers with punctuation, split layers, cls + e1 + e2, tanh; what the source, or
# for the entity representations the paper's RoBERTa, says of it against the base)
SETTINGS = {
    "base": ([], ""),
    "seed_1": (["--seed", "1"], ""),  # what training runs alone differ by: the errors of the table are over rows
    "seed_2": (["--seed", "2"], ""),
    "shared": (["--entity_layer", "shared"], "worse"),
    "concat_product": (["--concat", "cls", "e1", "e2", "e1*e2"], "worse"),
    "concat_distance": (["--concat", "cls", "e1", "e2", "|e1-e2|"], "worse"),
    "concat_cls_products": (["--concat", "cls*e1", "cls*e2"], "worse"),
    "concat_cls_products_product": (["--concat", "cls*e1", "cls*e2", "e1*e2"], "worse"),
    "gelu": (["--activation", "gelu"], "worse"),
    "smoothing_0.05": (["--label_smoothing_factor", "0.05"], "worse"),
    "batch_8": (["--per_device_train_batch_size", "8"], "worse"),
    "indicators": (["--head", "indicators"], "worse"),
    "baseline": (["--head", "baseline"], "worse"),
    "long_examples_drop": (["--long_examples", "drop"], "worse"),
    "max_length_64": (["--max_length", "64"], "worse"),
    "max_length_250_drop": (["--max_length", "250", "--long_examples", "drop"], "worse"),
    "relabelled": (["--label_fixes"], "worse"),
    "ner_text": (["--entity_representation", "typed_entity_marker_punct"], "worse"),
    "ner_special_tokens": (
        ["--entity_representation", "typed_entity_marker_punct", "--ner_as", "special_tokens"],
        "worse",
    ),
    "ner_embedding": (["--ner_as", "embedding"], "hoped better"),
    "entity_mask": (["--entity_representation", "entity_mask"], "worse"),
    "entity_marker": (["--entity_representation", "entity_marker"], "worse"),
    "typed_entity_marker": (["--entity_representation", "typed_entity_marker"], "worse"),
    "entity_pooling_first": (["--entity_pooling", "first"], ""),
    "entity_pooling_marker": (["--entity_pooling", "marker"], ""),
    "cls_pooling_first": (["--cls_pooling", "first"], ""),
    "cls_pooling_mean": (["--cls_pooling", "mean"], "hoped better"),
}
NEED_TYPES = ("ner_text", "ner_special_tokens", "ner_embedding", "entity_mask", "typed_entity_marker")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train_file", required=True, help="the competition's train.tsv, or KLUE's JSON")
    parser.add_argument("--config", default=TASK / "configs" / "tune.yaml", help="preset; default: tune")
    parser.add_argument("--model_name_or_path", help="folder of the encoder; default: the preset's")
    parser.add_argument("--ner_file", help="entity types, where train_file has none")
    parser.add_argument("--label_fixes", help="relabelled rows")
    parser.add_argument("--output_dir", required=True, type=Path, help="a run folder per setting goes here")
    parser.add_argument(
        "--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS), help="beside the base; default: all"
    )
    args, rest = parser.parse_known_args()
    shared = ["--config", args.config, "--train_file", args.train_file, *[x for x in rest if x != "--"]]
    shared += ["--model_name_or_path", args.model_name_or_path] if args.model_name_or_path else []
    results, seconds = {}, []
    for name in dict.fromkeys(["base", *args.settings]):
        options = list(SETTINGS[name][0])
        if name in NEED_TYPES and not args.train_file.endswith(".json"):
            if not args.ner_file:
                print(f"{name}: left out, it needs --ner_file")
                continue
            options += ["--ner_file", args.ner_file]
        if name == "relabelled":
            if not args.label_fixes:
                print(f"{name}: left out, it needs --label_fixes")
                continue
            options += [args.label_fixes]
        folder = args.output_dir / name
        if not (folder / "metrics.json").exists():
            # tune pools with the encoder's pooler; the baseline knows no such option
            options += ["--cls_pooling", "first"] if name == "baseline" else []
            command = [
                sys.executable,
                TASK / "train.py",
                *shared,
                *options,
                "--output_dir",
                folder,
                "--resume",
                "--disable_tqdm",
                "true",
            ]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        results[name] = Logits.load(folder / "oof_logits.npz")
        seconds.append(read_json(folder / "run.json")["seconds"]["train"])
        print(f"{name}: {seconds[-1]:.0f} s", flush=True)
        table = paired_table(
            results,
            {name: claim for name, (_, claim) in SETTINGS.items()},
            sum(seconds),
            KLUE_RE_METRICS,
            relation_metrics,
        )
        (args.output_dir / "choices.md").write_text(table, encoding="utf-8")
    print("\n" + table)


if __name__ == "__main__":
    main()
