"""The tests read English messages, whatever language the machine speaks (tests/common/lang/ ask for the other), and ask
no hub for a model that is not there."""

import os

os.environ["LC_ALL"] = "C.UTF-8"
os.environ["HF_HUB_OFFLINE"] = "1"
