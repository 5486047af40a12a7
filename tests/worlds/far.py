"""A device that is not there, on which everything is computed all the same: on the CPU, bit by bit.

A tensor of it says that it lies on ``faraway`` and holds one that lies on the CPU. What a GPU would refuse is
refused: an operation on tensors of two devices (numbers without axes aside, which travel with the command). What a
GPU would do slowly is noted: every time the CPU waits for the device, because a value decides a shape or a branch,
because something is copied home, or because something is sent there in a way that waits. It shows that code goes to a
device and stays there, not that any particular GPU computes the same.
"""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager

import pytest
import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.backend_registration import _DummyBackendModule

FAR = "faraway"  # torch gives every module a method of this name
_WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "unique2", "_unique2", "is_nonzero", "equal", "bincount"}


class _Backend(_DummyBackendModule):
    @staticmethod
    def get_amp_supported_dtype():
        return [torch.bfloat16]

    @staticmethod
    def is_available():
        return True

    @staticmethod
    def _is_in_bad_fork():
        return False

    @staticmethod
    def manual_seed_all(seed):
        """What is random there is drawn by the CPU's own generator."""


def device():
    """The device, made known to torch once a process."""
    if not hasattr(torch, FAR):
        setup = getattr(torch.utils.backend_registration, "_setup_privateuseone_for_python_backend", None)
        if setup is None:
            pytest.skip("this torch has no devices written in Python")
        setup(FAR, _Backend())
    return torch.device(FAR, 0)


class Far(torch.Tensor):
    """Says that it is far away."""

    @staticmethod
    def __new__(cls, held):
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=device(),
        )
        made.held = held
        return made

    def __repr__(self):
        return f"Far({tuple(self.shape)}, {self.dtype})"

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _compute(func, args, kwargs or {}, Counter())


class _Mode(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.waits = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _compute(func, args, kwargs or {}, self.waits)


@contextmanager
def travelling():
    """Tensors may be made on the device within; yields how often the CPU waits for it, by operation."""
    device()
    inference, before = torch.inference_mode, torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)
    # In inference mode torch makes no views of tensors that are written in Python.
    entering, leaving = inference.__enter__, inference.__exit__
    inference.__enter__ = lambda self: setattr(self, "instead", torch.no_grad()) or self.instead.__enter__()
    inference.__exit__ = lambda self, *error: self.instead.__exit__(*error)
    mode = _Mode()
    try:
        with mode:
            yield mode.waits
    finally:
        inference.__enter__, inference.__exit__ = entering, leaving
        torch.__future__.set_swap_module_params_on_conversion(before)


def _compute(func, args, kwargs, waits):
    name = func.overloadpacket.__name__
    flat, spec = pytree.tree_flatten((args, kwargs))
    far = [x for x in flat if isinstance(x, Far)]
    near = [x for x in flat if isinstance(x, torch.Tensor) and not isinstance(x, Far)]
    to = kwargs.get("device")
    to = None if to is None else torch.device(to)
    if name == "_to_copy" and to is not None and to.type != ("cpu" if not far else FAR):
        waits["home" if far else "sent"] += bool(far) or not kwargs.get("non_blocking", False)
    elif name == "copy_" and len({isinstance(x, Far) for x in args[:2]}) == 2:
        waits["home" if isinstance(args[1], Far) else "sent"] += bool(args[1].ndim)
    elif far and [x for x in near if x.ndim]:
        raise RuntimeError(f"{func}: tensors on two devices, {[tuple(x.shape) for x in near]} near")
    if far:
        masks = name in {"index", "index_put", "index_put_"} and any(
            isinstance(x, torch.Tensor) and x.dtype in (torch.bool, torch.uint8) for x in args[1]
        )
        waits[name] += name in _WAITING or masks
    here = bool(far) if to is None else to.type == FAR
    by = {id(x.held): x for x in far}
    held = [x.held if isinstance(x, Far) else torch.device("cpu") if isinstance(x, torch.device) else x for x in flat]
    args, kwargs = pytree.tree_unflatten(held, spec)
    if name == "_fused_sdp_choice":
        return 0
    out = _gru(*args) if name == "_thnn_fused_gru_cell" else func(*args, **kwargs)
    if not here:
        return out

    def away(x):
        if not isinstance(x, torch.Tensor):
            return x
        return by[id(x)] if id(x) in by else Far(x)

    return pytree.tree_map(away, out)


def _gru(entered, kept, before, entered_bias, kept_bias):
    """What devices have as one operation and the CPU has not."""
    enter, keep = ((x + bias).chunk(3, dim=1) for x, bias in ((entered, entered_bias), (kept, kept_bias)))
    reset, update = (torch.sigmoid(a + b) for a, b in zip(enter[:2], keep[:2], strict=True))
    new = torch.tanh(enter[2] + reset * keep[2])
    return (before - new) * update + new, torch.empty(0)
