"""Memories: going along rows one by one is the same as seeing them at once, and each member goes by itself."""

from __future__ import annotations

import pytest
import torch

from worldgate.worlds.nn.memories import make_memory


@pytest.mark.parametrize("kind", ["gru", "transformer"])
def test_rows_one_by_one_leave_the_same_memory_as_all_at_once(kind):
    torch.manual_seed(0)
    memory = make_memory(kind, 2, 5, 16, 12)
    tokens = torch.randn(2, 3, 9, 5)
    together, _ = memory.step(tokens[:, :, 8], memory.begin(tokens[:, :, :8]))
    held = memory.begin(tokens[:, :, :1])
    for row in range(1, 8):
        _, held = memory.step(tokens[:, :, row], held)
    alone, _ = memory.step(tokens[:, :, 8], held)
    assert torch.allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("kind", ["gru", "transformer"])
def test_members_and_sequences_do_not_see_each_other(kind):
    torch.manual_seed(0)
    memory = make_memory(kind, 2, 5, 16, 12)
    tokens = torch.randn(2, 3, 4, 5)
    other = tokens.clone()
    other[1] += 1
    other[0, 2] += 1
    one, _ = memory.step(tokens[:, :, 3], memory.begin(tokens[:, :, :3]))
    two, _ = memory.step(other[:, :, 3], memory.begin(other[:, :, :3]))
    assert torch.allclose(one[0, :2], two[0, :2], atol=1e-6)
    assert not torch.allclose(one[1], two[1])
    assert not torch.allclose(one[0, 2], two[0, 2])
