"""Whether the catalogues are complete: sentences without a translation, and translations of what nothing says.

python -m common.lang                       # exit code 1 where something is missing
python -m common.lang --sentences           # all that the code says, and where

A sentence is added to common/lang/ko.json by its English template, with a number for a value ({0}) and a letter for
text that is itself translated ({a}), as this command prints it.
"""

import sys  # PYTHON_ARGCOMPLETE_OK

from common.console import ArgumentParser, print_once, run_main
from common.guards.terminal import LANGUAGES
from common.lang.check import problems
from common.lang.extract import sentences


def main() -> None:
    parser = ArgumentParser("python -m common.lang", __doc__)
    parser.add_argument("--sentences", action="store_true", help="list the templates with their places")
    if parser.parse_args().sentences:
        for said in sentences().values():
            print_once(f"{' '.join(said.places)}\t{said.template!r}")
        return
    found = [problem for language in LANGUAGES if language != "en" for problem in problems(language)]
    for problem in found:
        print_once(problem)
    if found:
        sys.exit(1)
    print_once("all sentences have a translation")


if __name__ == "__main__":
    run_main(main, again="start the same command again")
