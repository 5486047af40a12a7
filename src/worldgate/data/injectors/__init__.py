"""Injectors: each file makes one family of faults as robots and their recorders make them, in a wrapped log.

The seam's signature is ``inject(log: Log, config: Config, seed: int) -> Injected``, beside a frozen ``Config`` whose
every field has a default, among them ``variant`` and ``magnitude``, and ``FAULTS``: the variants with the unit of their
magnitude, the least that matters in practice, and the magnitudes of a sweep. An :class:`Injected` log carries the truth
of what was done. Injectors know nothing of the checks that are to find them: they were written without reading these,
and import none.

Any package may add an injector of its own by an entry point in the group ``worldgate.injectors``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from worldgate.core.config import decode
from worldgate.core.seams import cards, load
from worldgate.core.streams import Log
from worldgate.data.injectors._wrap import Codec, Fault, Injected, Truth, variant

__all__ = ["Codec", "Fault", "Injected", "Truth", "inject", "kinds", "named"]


def kinds() -> dict[str, Fault]:
    """Every kind of fault, ``<injector>.<variant>``."""
    return {f"{name}.{f.name}": f for name in cards("injectors") for f in load("injectors", name).FAULTS}


def named(kind: str) -> Fault:
    """One kind of fault.

    Raises:
        NotFound: no such injector or variant; the hint is the nearest or lists them.
    """
    name, _, fault = kind.partition(".")
    return variant(load("injectors", name).FAULTS, fault)


def inject(
    log: Log, kind: str, magnitude: float, *, seed: int = 0, params: Mapping[str, Any] | None = None
) -> Injected:
    """A log with one fault in it.

    Args:
        log: a log, read lazily; it is not changed.
        kind: ``<injector>.<variant>``.
        magnitude: in the unit of the kind.
        seed: decides where it strikes.
        params: more values for the injector's ``Config``, such as ``stream``.

    Raises:
        NotFound: no such kind, or nothing in the log that it could befall.
        ConfigError: a parameter that its ``Config`` does not have.
    """
    fault = named(kind)
    name = kind.partition(".")[0]
    module = load("injectors", name)
    tree = {**(params or {}), "variant": fault.name, "magnitude": magnitude}
    config = decode(module.Config, tree, where=f"injectors.{name}")
    return cast("Injected", module.inject(log, config, seed))
