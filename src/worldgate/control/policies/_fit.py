"""Fitting a small network by regression: the one place of this seam that imports torch.

Shape legend: N rows, D inputs, A outputs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from worldgate.core.streams import FloatArray
from worldgate.worlds.train.monitor import Progress, Report

_WARM_UP = 100
_REPORT_EVERY = 50


@contextmanager
def one_thread() -> Iterator[None]:
    """Batches this small lose more to waiting threads than they gain; and one thread gives one result everywhere."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def network(inputs: int, hidden: int, outputs: int, *, seed: int) -> nn.Sequential:
    """Two hidden layers of SiLU units; the caller's random state is left alone."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, outputs)
        )


def fit(
    x_ND: FloatArray,
    y_NA: FloatArray,
    *,
    hidden: int,
    steps: int,
    batch: int,
    learning_rate: float,
    weight_decay: float,
    seed: int,
    progress: Report | None,
) -> tuple[dict[str, FloatArray], float]:
    """AdamW on a Huber loss with a cosine schedule.

    Returns:
        Tensors by ``layer.weight`` and ``layer.bias``, and the mean loss of the last hundred steps.
    """
    net = network(x_ND.shape[1], hidden, y_NA.shape[1], seed=seed)
    optimiser = torch.optim.AdamW(net.parameters(), lr=learning_rate, weight_decay=weight_decay)
    x, y = torch.from_numpy(x_ND.astype(np.float32)), torch.from_numpy(y_NA.astype(np.float32))
    random = torch.Generator().manual_seed(seed)
    losses: list[float] = []
    begun = time.monotonic()
    with one_thread():
        for step in range(steps):
            share = min(1.0, (step + 1) / _WARM_UP) * (0.5 + 0.5 * math.cos(math.pi * step / steps))
            rows = torch.randint(len(x), (batch,), generator=random)
            losses.append(_step(net, optimiser, x[rows], y[rows], learning_rate * share))
            if progress is not None and (step + 1) % _REPORT_EVERY == 0:
                progress(_line(step + 1, steps, losses[-1], time.monotonic() - begun))
    layers = [module for module in net if isinstance(module, nn.Linear)]
    tensors = {f"{i}.{n}": p.detach().numpy() for i, layer in enumerate(layers) for n, p in layer.named_parameters()}
    return tensors, float(np.mean(losses[-100:]))


def _step(net: nn.Module, optimiser: torch.optim.Optimizer, x: Tensor, y: Tensor, rate: float) -> float:
    for group in optimiser.param_groups:
        group["lr"] = rate
    loss = nn.functional.smooth_l1_loss(net(x), y)
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return loss.item()


def _line(step: int, steps: int, loss: float, elapsed_s: float) -> Progress:
    rate = step / elapsed_s
    return Progress(phase="policy", step=step, steps=steps, loss=loss, rate=rate, eta_s=(steps - step) / rate)
