"""Make a working folder for a contest out of its files: it looks at them, says what it finds, and asks nothing.

python -m common.new my_contest --from friends --train train.csv --text keyword,text --target target --metric f1
python -m common.new my_contest --from friends --train train.tsv --text sentence1,sentence2 --target score
python -m common.new my_images --from reon_face --images images --labels labels.csv --test test_images

It copies train.py and predict.py of the folder that --from names as they are, and writes a data.py of under 60 lines
for these columns, presets, a sample that is made of the columns' types, and a README with its commands.
"""

import argparse  # PYTHON_ARGCOMPLETE_OK

from common.console import ArgumentParser, print_once, run_main
from common.new.build import FOLDERS, build


def parse() -> argparse.Namespace:
    parser = ArgumentParser("python -m common.new", __doc__)
    parser.add_argument("name", help="the folder to make")
    parser.add_argument("--from", dest="recipe", required=True, help=f"the folder to copy: {', '.join(FOLDERS)}")
    parser.add_argument("--train", help="rows to train on: csv, tsv, xlsx, parquet, jsonl, ..., also gzipped or zipped")
    parser.add_argument("--eval", help="rows to evaluate on, where the contest has them")
    parser.add_argument("--test", help="rows to predict; for images and clips a folder")
    parser.add_argument("--sample", help="the contest's sample submission")
    text = "columns that the model reads, a,b, or templates, one a segment: '{keyword}: {text}'"
    parser.add_argument("--text", nargs="+", help=text)
    parser.add_argument("--target", help="the column to predict, or several of 0 and 1: a,b,c")
    parser.add_argument("--id", help="the column with the rows' ids; default: found, or rows are numbered")
    parser.add_argument("--columns", help="names of the columns of files without a header line: a,b,c")
    parser.add_argument("--kind", choices=["labels", "several", "number", "ordered"], help="of target; default: found")
    parser.add_argument("--order", help="ordered classes by name, the lowest first: low,medium,high")
    parser.add_argument("--decimal", choices=[".", ","], help="the decimal mark of target; default: found")
    parser.add_argument("--metric", help="what is to be good: f1, macro_f1, auc, rmse, ...; default: the target's")
    parser.add_argument(
        "--model_name_or_path", help="of tune.yaml and final.yaml; default: by the language of the texts"
    )
    parser.add_argument("--images", help="reon_face: a folder of images, or of a folder per class")
    parser.add_argument("--clips", help="hand_signal: a folder of clips, or of a folder per class")
    parser.add_argument("--labels", help="the table of labels that belongs to --images or --clips")
    parser.add_argument("--path", help="the column of --labels with the files' names; default: found")
    return parser.parse_args()


def main() -> None:
    for line in build(parse()):
        print_once(line)


if __name__ == "__main__":
    run_main(main, again="start the same command again")
