"""Threads that wait for each other soon sleep, they do not spin.

At the end of an operation OpenMP's threads spin for milliseconds until the last of them is ready. Where another program
runs beside a training, that takes the core which the last one waits for (tests/benchmarks/busy_machine.py). OpenMP
reads this when torch loads it, so it is set when `common` is imported; what the user has set stays.
"""

import os

if "GOMP_SPINCOUNT" not in os.environ and "OMP_WAIT_POLICY" not in os.environ:
    os.environ["GOMP_SPINCOUNT"] = "300"  # GNU's: some microseconds, which operations in a row often take
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # others'
