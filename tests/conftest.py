"""One thread: on networks as small as the tests', more threads only wait for each other."""

import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch, and for processes that tests start


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    import torch

    torch.set_num_threads(1)
