"""The process of a search that trains: runs <task folder>/train.py for one command line after the other, so that torch
is imported once.

Reads {"log": file, "argv": [train.py, option, ...]} from stdin, a line each, and answers with the exit code; ends with
its stdin. A search that is killed leaves it to finish its command line: it holds the search's lock until then.
"""

import gc
import json
import os
import runpy
import sys
import traceback


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
    import torch

    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        job = json.loads(line)
        log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        code = run(job["argv"])
        gc.collect()  # what the run held, before the next needs the memory
        torch.cuda.empty_cache()
        sys.stdout.flush()
        sys.stderr.flush()
        print(code, file=answers, flush=True)


if __name__ == "__main__":
    main()
