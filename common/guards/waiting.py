"""Threads that wait for each other sleep, they do not spin.

At the end of an operation OpenMP's threads spin until the last of them is ready. Where another program runs beside a
training, that takes the core which the last one waits for (tests/benchmarks/busy_machine.py). OpenMP reads this when
torch loads it, so it is set when `common` is imported; what the user has set stays.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
