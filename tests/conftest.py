"""The tests read English messages, whatever language the machine speaks (tests/common/lang/ ask for the other), and ask
no hub for a model that is not there."""

import gc
import os

os.environ["LC_ALL"] = "C.UTF-8"
os.environ["HF_HUB_OFFLINE"] = "1"


def pytest_collection_finish():
    """What the test files have imported stays: a training's gc.collect() need not look through it, a third of a second."""
    gc.freeze()
