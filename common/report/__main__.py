"""All runs under a folder in one table, or two runs and more against each other; each is one page without a server.

python -m common.report runs                      # every run of every task: the table here, the page in runs/index.html
python -m common.report runs/friends
python -m common.report --compare runs/friends/demo runs/friends/demo-2               # the others against the first
python -m common.report --compare RUN RUN RUN --output comparison.html --task friends
"""

from pathlib import Path  # PYTHON_ARGCOMPLETE_OK

from common.console import ArgumentParser, InputError, print_once, run_main
from common.files import atomic_write
from common.guards.terminal import columns_of, padded, told


def main() -> None:
    parser = ArgumentParser("python -m common.report", __doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "folder", type=Path, nargs="?", help="folder of runs, as runs/ or runs/friends; index.html is written into it"
    )
    what.add_argument("--compare", type=Path, nargs="+", metavar="RUN", help="finished runs of one task, two or more")
    parser.add_argument("--output", type=Path, help="the page of --compare; default: beside the first run")
    parser.add_argument(
        "--task", type=Path, help="the task's folder, for texts and its own metric; default: the one of that name here"
    )
    parser.add_argument("--rows", type=int, help="at most so many that changed sides, each way; default: 50")
    args = parser.parse_args()
    if args.compare:
        from common.report.compare_page import write_comparison

        write_comparison(args.compare, args.output, args.task, 50 if args.rows is None else args.rows)
    else:
        if (args.output, args.task, args.rows) != (None, None, None):
            raise InputError("command line: --output, --task and --rows belong to --compare")
        write_index(args.folder)


def write_index(folder: Path) -> None:
    """Print the table of all runs below a folder, and write its index.html."""
    from common.report.index_page import COLUMNS, describe_run, find_runs, index_page

    found = [(describe_run(run, folder), run) for run in find_runs(folder)]
    found.sort(key=lambda row: [cell.text for cell in row[0][:2]])
    rows = [row for row, _ in found]
    texts = [[*map(told, COLUMNS)], *([*(cell.text for cell in row[:-1]), told(row[-1].text)] for row in rows)]
    widths = [max(map(columns_of, column)) for column in zip(*texts, strict=True)]
    for row in texts:
        print_once("  ".join(map(padded, row, widths)).rstrip())
    with atomic_write(folder / "index.html") as file:
        file.write(index_page(folder, [run for _, run in found], rows))
    print_once(f"{folder / 'index.html'}: {len(found)} runs")


if __name__ == "__main__":
    run_main(main, again="start the same command again")
