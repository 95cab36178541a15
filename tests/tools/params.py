"""Which cases of a test the suite runs."""

from collections.abc import Iterable
from typing import Any

import pytest


def first(count: int, cases: Iterable[Any]) -> list[Any]:
    """The cases of a parameter: the first `count` always, the others with the slow tests."""
    return [case if n < count else pytest.param(case, marks=pytest.mark.slow) for n, case in enumerate(cases)]
