"""Fixtures that the tests share."""

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """The thread count can change the last bits of a sum: tests that compare bits fix it, and small ones gain."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=[0, 1], ids=["seed0", "seed1"])
def seed(request):
    """Two seeds: a test that passes by luck of one rarely passes by luck of both."""
    return request.param


@pytest.fixture
def generator(seed):
    return torch.Generator().manual_seed(1000 + seed)
