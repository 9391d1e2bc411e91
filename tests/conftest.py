"""What holds for every test: no network beyond this machine, and torch threads that wait without spinning."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # see training/__main__.py
