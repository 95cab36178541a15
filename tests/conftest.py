"""The tests read English messages, whatever language the machine speaks; tests/common/lang/ ask for the other."""

import os

os.environ["LC_ALL"] = "C.UTF-8"
