"""What the members of a telemetry ensemble remember of the rows before now: a recurrent network, or causal attention.

Source: GRU arXiv 1406.1078; attention over time as in ``attention.py``. Notable choices: every member has weights of
its own and all are applied in one batched product; a memory is only an addition to what the last few rows say, so a
model with one starts where a model without one does.

Shape legend: M members, N sequences, L rows, I numbers of a token, H width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from worldgate.worlds.nn.attention import Past, rotate, rotations

Held: TypeAlias = "Tensor | Attended | None"
"""What a memory holds between two steps."""

_LAYERS, _HEADS = 2, 4


class EnsembleLinear(nn.Module):
    """One linear layer a member: (M, N, I) to (M, N, O)."""

    def __init__(self, members: int, inputs: int, outputs: int, *, gain: float = 1.0) -> None:
        super().__init__()
        self.weight_MIO = nn.Parameter(torch.randn(members, inputs, outputs) * gain / math.sqrt(inputs))
        self.bias_M1O = nn.Parameter(torch.zeros(members, 1, outputs))

    def forward(self, x_MNI: Tensor) -> Tensor:
        """Apply each member's layer to its own rows."""
        return torch.baddbmm(self.bias_M1O, x_MNI, self.weight_MIO)

    def each(self, x_MNLI: Tensor) -> Tensor:
        """The same for sequences, (M, N, L, O)."""
        out: Tensor = self(x_MNLI.flatten(1, 2))
        return torch.unflatten(out, 1, x_MNLI.shape[1:3])


class Memory(Protocol):
    """Goes along the rows of a sequence."""

    def begin(self, tokens_MNLI: Tensor) -> Held:
        """What is held after these rows."""
        ...

    def step(self, token_MNI: Tensor, held: Held) -> tuple[Tensor, Held]:
        """(M, N, H) what is remembered now that this row came, and what is held from here on."""
        ...


def make_memory(kind: str, members: int, inputs: int, width: int, rows: int) -> GruMemory | AttentionMemory:
    """A memory by its name, ``gru`` or ``transformer``, that looks back on so many rows."""
    if kind == "gru":
        return GruMemory(members, inputs, width)
    return AttentionMemory(members, inputs, width, rows)


class GruMemory(nn.Module):
    """A gated recurrent network a member."""

    def __init__(self, members: int, inputs: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.enter = EnsembleLinear(members, inputs, 3 * width)
        self.turn = EnsembleLinear(members, width, 3 * width)

    def begin(self, tokens_MNLI: Tensor) -> Held:
        """Run over all rows from an empty state."""
        gates = self.enter.each(tokens_MNLI)
        held = gates.new_zeros(*gates.shape[:2], self.width)
        for row in range(gates.shape[2]):
            held = self._cell(gates[:, :, row], held)
        return held

    def step(self, token_MNI: Tensor, held: Held) -> tuple[Tensor, Held]:
        """One row on."""
        assert isinstance(held, Tensor)
        after = self._cell(self.enter(token_MNI), held)
        return after, after

    def _cell(self, gates_MN3H: Tensor, held_MNH: Tensor) -> Tensor:
        reset, update, new = gates_MN3H.chunk(3, dim=-1)
        reset_h, update_h, new_h = self.turn(held_MNH).chunk(3, dim=-1)
        keep = torch.sigmoid(update + update_h)
        fresh = torch.tanh(new + torch.sigmoid(reset + reset_h) * new_h)
        return keep * held_MNH + (1 - keep) * fresh


class Attended:
    """Keys and values of every layer, and how many rows were seen."""

    def __init__(self, pasts: Sequence[Past], rows: int) -> None:
        self.pasts, self.rows = pasts, rows


class AttentionMemory(nn.Module):
    """Two layers of causal attention a member, with rotary positions over rows."""

    def __init__(self, members: int, inputs: int, width: int, rows: int) -> None:
        super().__init__()
        self.rows, self.head = rows, width // _HEADS
        self.enter = EnsembleLinear(members, inputs, width)
        self.ask = nn.ModuleList(EnsembleLinear(members, width, 3 * width) for _ in range(_LAYERS))
        self.join = nn.ModuleList(EnsembleLinear(members, width, width, gain=0.5) for _ in range(_LAYERS))
        self.widen = nn.ModuleList(EnsembleLinear(members, width, 2 * width) for _ in range(_LAYERS))
        self.narrow = nn.ModuleList(EnsembleLinear(members, 2 * width, width, gain=0.5) for _ in range(_LAYERS))

    def begin(self, tokens_MNLI: Tensor) -> Held:
        """All rows at once, each seeing those before it."""
        held = Attended([Past(self.rows) for _ in range(_LAYERS)], 0)
        if tokens_MNLI.shape[2]:
            self._through(tokens_MNLI, held)
        return held

    def step(self, token_MNI: Tensor, held: Held) -> tuple[Tensor, Held]:
        """One row on."""
        assert isinstance(held, Attended)
        return self._through(token_MNI.unsqueeze(2), held).squeeze(2), held

    def _through(self, tokens_MNLI: Tensor, held: Attended) -> Tensor:
        members, count, rows = tokens_MNLI.shape[:3]
        when = torch.arange(held.rows, held.rows + rows, device=tokens_MNLI.device)
        rotation = rotations(when[:, None], self.head)
        hidden = self.enter.each(tokens_MNLI)
        for layer, past in enumerate(held.pasts):
            asked = self.ask[layer].each(_normal(hidden)).flatten(0, 1)  # type: ignore[operator]
            query, key, value = torch.unflatten(asked, -1, (3, _HEADS, self.head)).permute(2, 0, 3, 1, 4)
            key, value = past.join(rotate(_normal(key), rotation), value)
            first = held.rows == 0 and rows > 1
            mixed = functional.scaled_dot_product_attention(
                rotate(_normal(query), rotation), key, value, is_causal=first
            )
            mixed = torch.unflatten(mixed.transpose(1, 2).flatten(-2), 0, (members, count))
            hidden = hidden + self.join[layer].each(mixed)  # type: ignore[operator]
            wide = functional.silu(self.widen[layer].each(_normal(hidden)))  # type: ignore[operator]
            hidden = hidden + self.narrow[layer].each(wide)  # type: ignore[operator]
        held.rows += rows
        return _normal(hidden)


def _normal(x: Tensor) -> Tensor:
    return functional.rms_norm(x, x.shape[-1:])
