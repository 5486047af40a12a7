"""Checks: each file looks for one kind of damage in a log and answers with evidence, never with a verdict.

The seam's signature is ``check(log: Log, config: Config) -> tuple[Finding, ...]`` beside a frozen ``Config`` whose
every field has a default. No finding means nothing was found. A finding names its stream, the measured value, the
limit it passed, the unit, and the half-open spans where it holds. Whether it refuses or only flags a log is the
contract's word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from worldgate.core.config import decode
from worldgate.core.seams import load
from worldgate.core.streams import Finding, Log


def run(name: str, log: Log, params: Mapping[str, Any] | None = None, *, where: str = "checks") -> tuple[Finding, ...]:
    """Run one check on a log.

    Args:
        name: the check's file name.
        log: what to look at.
        params: values for its ``Config``; the rest keep their defaults.
        where: file and key the parameters came from, for errors.

    Raises:
        NotFound: no such check; the hint is the nearest name.
        ConfigError: a parameter that its ``Config`` does not have.
    """
    check, config = prepare(name, params or {}, where=where)
    return check(log, config)


def prepare(
    name: str, params: Mapping[str, Any], *, where: str
) -> tuple[Callable[[Log, Any], tuple[Finding, ...]], Any]:
    """A check and its decoded configuration; see :func:`run`."""
    module = load("checks", name)
    config = decode(module.Config, params, where=where)
    return cast("Callable[[Log, Any], tuple[Finding, ...]]", module.check), config
