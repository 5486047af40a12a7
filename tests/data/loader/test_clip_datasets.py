"""Clips of a recorded dataset: from the workspace's cache, and straight from the logs it keeps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from worldgate.core.errors import UsageError
from worldgate.data import contracts, datasets
from worldgate.data.ingest import Shelf, ingest
from worldgate.data.loader import ClipConfig, ClipLoader, prove
from worldgate.record.workspace import Workspace

FRONT = "observation.images.front"


def test_a_dataset_is_served_from_the_workspace_and_traced_back_to_its_logs(
    workspace: Workspace, record_log: Callable[..., Path], contract_file: Path
) -> None:
    for seed in range(4):
        ingest(workspace, record_log(seed))
    contract = contracts.add(workspace, contracts.read(contract_file))
    ref = datasets.snapshot(workspace, contract, name="small")
    episodes = datasets.load(workspace, ref.digest, "train")
    spec, shelf = contracts.load(workspace, contract.digest).spec(), Shelf(workspace)
    served = {}
    for codec in ("raw", "none"):
        config = ClipConfig(
            cameras=(FRONT,), numbers=("observation.state",), size=(16, 24), frames=4, batch=3, codec=codec
        )
        loader = ClipLoader(config, datasets.load(workspace, ref.digest, "train"), cache=workspace.cache)
        batch = next(iter(loader))
        served[codec] = batch.frames[FRONT]
        clip = batch.clip(2)
        about = loader.receipts.episode(clip.receipt)
        assert about.log in {episode.log for episode in episodes}
        assert prove(clip, loader.receipts, shelf.open(about.log), spec).exact
    np.testing.assert_array_equal(served["raw"], served["none"])
    assert list((workspace.cache / "clips").glob("*.raw"))
    with pytest.raises(UsageError, match="workers = 0, or a clip cache"):
        ClipLoader(
            ClipConfig(cameras=(FRONT,), size=16, frames=4, batch=3, codec="none", workers=1), episodes, cache=None
        )
