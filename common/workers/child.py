"""The process that trains for another one: runs <task folder>/train.py for one command line after the other, so that
torch is imported once.

Reads {"log": file, "argv": [train.py, option, ...]} from stdin, a line each, and answers {"code": exit code}; ends with
its stdin. A parent that is killed leaves it to finish its command line; with --end_with_parent it ends at once.
"""

import gc
import os
import runpy
import sys
import traceback

from common.workers import link


def run(argv: list[str]) -> int:
    """The exit code of `python <argv>`; 1 after a traceback."""
    sys.argv, sys.path[0] = argv, os.path.dirname(argv[0])
    try:
        runpy.run_path(argv[0], run_name="__main__")
    except SystemExit as end:
        return end.code or 0
    except Exception:
        traceback.print_exc()
        return 1
    return 0


def main() -> None:
    link.LINK = parent = link.Link("--end_with_parent" in sys.argv[1:])
    while (job := parent.next()) is not None:
        link.write_to(job["log"])
        parent.alone = job.get("alone", True)
        code = run(job["argv"])
        gc.collect()  # what the run held, before the next needs the memory
        if "torch" in sys.modules:
            sys.modules["torch"].cuda.empty_cache()
        sys.stdout.flush()
        sys.stderr.flush()
        parent.say(code=code)


if __name__ == "__main__":
    main()
