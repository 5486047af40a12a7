"""In this process, one bundle after another: the default, and the one to debug in.

Notable choice: a bundle starts when its result is asked for, so Ctrl-C is felt at once and nothing runs ahead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from worldgate.engines._stage import Bundle, Reply, perform

if TYPE_CHECKING:
    from worldgate.engines import EngineConfig

CARD = {"line": "this process, one after another", "inputs": "nothing"}


class HereEngine:
    """Runs bundles where it is called."""

    def run(self, bundles: Sequence[Bundle]) -> Iterator[tuple[int, tuple[Reply, ...]]]:
        """Bundles in their order."""
        for index, bundle in enumerate(bundles):
            yield index, perform(bundle)

    def close(self) -> None:
        """Nothing to let go."""


def start(config: EngineConfig) -> HereEngine:  # the seam's signature
    """Start it."""
    return HereEngine()
