"""Trained models that several tests share."""

from __future__ import annotations

import pytest
import torch
from tests.worlds.synthetic import debug_config, episodes

from worldgate.worlds import checkpoint
from worldgate.worlds.train.loop import train


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session", params=["state", "conv"])
def family(request):
    return request.param


@pytest.fixture(scope="session")
def trained(family, tmp_path_factory):
    """A debug model's folder."""
    run = tmp_path_factory.mktemp("runs") / family
    return train(family, episodes(6), episodes(2, first=50), debug_config(family), run)


@pytest.fixture
def model(trained):
    return checkpoint.load(trained)
