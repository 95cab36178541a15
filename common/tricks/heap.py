"""What a step on a CPU frees stays with the process for the next step, which is as large.

glibc gives large blocks back to the system as soon as they are freed; the next step asks for them again, and the system
fills each of their pages with zeros when it is first written (mallopt(3)).
"""

import ctypes
import os
import platform

M_TRIM_THRESHOLD = -1  # malloc.h
M_MMAP_MAX = -4
SET_BY_USER = ("MALLOC_", "GLIBC_TUNABLES")  # beginnings of environment variables


def keep_freed_memory() -> bool:
    """Until its end the process keeps the most memory that it has used. False where nothing was changed: malloc() is
    not glibc's, or the environment says how it is to work."""
    if platform.libc_ver()[0] != "glibc" or any(name.startswith(SET_BY_USER) for name in os.environ):
        return False
    libc = ctypes.CDLL(None)
    return bool(libc.mallopt(M_MMAP_MAX, 0) and libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1))
