"""What scenarios and trials cover of what a claim is meant to cover, and the empty bins as limits of the claim.

A trial fills a bin if it counts: one that was excluded shows nothing about its situation. A bin that no scenario or no
trial fills is named, because a suite that passes says nothing about what it never met.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from worldgate.core.evidence import Trial
from worldgate.core.streams import Origin
from worldgate.evidence import scenarios, trials
from worldgate.evidence.coverage_bins import Bins
from worldgate.evidence.scenarios import Scenario, Suite, unit_of
from worldgate.record.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """One bin and what fell into it."""

    site: str
    parameter: str
    bin: str
    scenarios: int
    real: int
    """Real trials that count."""
    simulated: int
    imagined: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Every declared bin."""

    bins: tuple[Filled, ...]
    outside: tuple[str, ...]
    """Scenarios that fall into no bin of a parameter of their site, in words."""

    def limits(self, *, population: frozenset[Origin] | None) -> tuple[str, ...]:
        """What a claim that rests on these trials says nothing about, one sentence a bin.

        Args:
            population: origins of trials that count for the claim; None: before any trial, of the scenarios alone.
        """
        found = []
        for held in self.bins:
            counted = held.scenarios
            if population is not None:
                counted = sum(getattr(held, origin.value) for origin in population)
            if counted == 0:
                lacks = "no scenario" if held.scenarios == 0 else "no trial that counts"
                found.append(f"nothing is shown for {held.parameter} {held.bin} at {held.site}: {lacks}")
        return (*found, *self.outside)


def cover(bins: Sequence[Bins], listed: Mapping[str, Scenario], ran: Iterable[Trial]) -> Coverage:
    """Count scenarios and trials in declared bins.

    Args:
        bins: what is meant to be covered.
        listed: digest -> scenario.
        ran: trials of these scenarios; others are not looked at.
    """
    times = Counter((t.scenario, t.executor) for t in ran if not t.excluded)
    filled: list[Filled] = []
    outside: list[str] = []
    for item in bins:
        inside: dict[int, list[str]] = {}
        for digest, scenario in listed.items():
            if scenario.site != item.site or scenario.variations:
                continue
            place = place_of(item, scenario)
            if place is None:
                outside.append(f"{scenario.name} falls into no bin of {item.name} at {item.site}")
            else:
                inside.setdefault(place, []).append(digest)
        for place, label in enumerate(item.labels()):
            here = inside.get(place, [])
            counts = {origin: sum(times[digest, origin] for digest in here) for origin in Origin}
            filled.append(
                Filled(
                    site=item.site,
                    parameter=item.name,
                    bin=label,
                    scenarios=len(here),
                    real=counts[Origin.REAL],
                    simulated=counts[Origin.SIMULATED],
                    imagined=counts[Origin.IMAGINED],
                )
            )
    return Coverage(bins=tuple(filled), outside=tuple(outside))


def of_release(ws: Workspace, suite: Suite, release: str, *, upto_seq: int) -> Coverage:
    """What a suite and the trials of a release cover, as the ledger stood at a sequence.

    Args:
        ws: the workspace.
        suite: with its bins.
        release: digest; empty: no trials.
        upto_seq: the ledger as it stood there.
    """
    listed = {digest: scenarios.load(ws, digest) for digest in suite.scenarios}
    ran = trials.read_list(trials.collect(ws, release, upto_seq=upto_seq)) if release else ()
    return cover(suite.coverage, listed, [recorded.trial for recorded in ran])


def place_of(bins: Bins, scenario: Scenario) -> int | None:
    """Which bin a scenario falls into, or none."""
    tree = {"initial": scenario.initial, "attributes": scenario.attributes, "strata": scenario.strata}
    return bins.place(tree, unit=unit_of(scenario, bins.path))
