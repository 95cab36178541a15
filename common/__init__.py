import common.guards.waiting  # noqa: F401  # before torch
