"""Whether the lower bounds of requirements.txt are true: a venv with exactly those versions, and the quick tests in it.

python tests/tools/lowest.py                                # in a venv of some 6 GB, deleted afterwards
python tests/tools/lowest.py --venv FOLDER                  # in one that stays, and is used again
python tests/tools/lowest.py tests/common/targets -k folds  # what pytest is to run in place of all

uv resolves with lowest-direct: what requirements.txt names in its lowest version, what these need in their newest. The
versions are printed; the exit code is that of uv, where they cannot be installed, or of pytest.
"""

import argparse
import subprocess
import sys
import tempfile
import venv
from contextlib import nullcontext
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--venv", type=Path, help="the venv's folder; it is made where it is not there")
    args, tests = parser.parse_known_args()
    with nullcontext(args.venv) if args.venv else tempfile.TemporaryDirectory() as folder:
        try:
            python = install(Path(folder).absolute())
            run(python, "-m", "pytest", "-n", "2", "--dist", "loadfile", *tests)
        except subprocess.CalledProcessError as error:
            sys.exit(error.returncode)


def install(folder: Path) -> Path:
    """The Python of the venv in `folder`, with the lowest versions. Raises CalledProcessError."""
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if not python.exists():
        venv.create(folder, with_pip=True)
        run(python, "-m", "pip", "install", "--quiet", "uv")
    lowest = ["--resolution", "lowest-direct", "--upgrade"]  # what is there already is no reason to keep it
    run(python, "-m", "uv", "pip", "install", "--python", python, *lowest, "--requirement", "requirements.txt")
    run(python, "-m", "uv", "pip", "freeze", "--python", python)
    return python


def run(*command: object) -> None:
    """Run a command in the repository. Raises CalledProcessError."""
    subprocess.run([*map(str, command)], cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
