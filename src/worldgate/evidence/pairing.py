"""Pairs: trials of one release on one scenario with one seed, in a world model and in reality, side by side.

:func:`collect` takes every trial that was run in a world model from the ledger, and every trial anywhere of the
releases that ran there; nobody picks. :func:`pair` puts them together. Rules that keep the table honest:

- A rollout beyond H(epsilon) is no evidence: imagined trials longer than the admitted horizon, or whose length was not
  recorded, are refused and counted.
- Of several runs of one release, scenario, seed and site on one side the first on the ledger counts, the others are
  told: whoever may imagine until it fits would.
- An excluded trial counts against the world model: as a failure and a violation if it was real, as a success without
  one if it was imagined.
- Scenes that a release ran for real and that were never imagined are counted: whoever may choose which scenes to
  imagine after having seen the real outcome would.
- A scene counts once in a bound, however many releases and seeds ran on it.

The table: k01 is imagined success and real failure (optimism), k10 the other way round, as in governance of the gap,
W7.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from worldgate.core.config import decode
from worldgate.core.errors import DataRefused
from worldgate.core.evidence import Trial
from worldgate.core.streams import Origin
from worldgate.evidence.aided import Discounted, optimism_discounted
from worldgate.evidence.exact import Number
from worldgate.evidence.scenes import Scenes, one_per_scene
from worldgate.evidence.trials import RecordedTrial
from worldgate.record.workspace import Workspace

SCHEMA = "worldgate/paired-trials/1"
CHECKS = frozenset({"missed_violations", "optimism", "rank"})
"""Checks that read it: only a policy that names one of them is shown it."""
BEYOND = "beyond the valid horizon"
"""How an executor's reason begins where a rollout was cut short: it says neither success nor failure."""
_EXTRA = frozenset({"schema", "digest", "chosen_by"})


def collect(ws: Workspace, world: str, *, upto_seq: int) -> dict[str, Any]:
    """Every trial in a world model, and every other trial of the releases that ran in it, in ledger order.

    Returns:
        ``{schema, world, trials: [{digest, ...trial}]}``; a trial recorded twice stands once.
    """
    rows: dict[str, dict[str, Any]] = {}
    for event in ws.ledger.events("trial.run"):
        if event.seq <= upto_seq:
            digest = str(event.body["trial"])
            rows.setdefault(digest, {"digest": digest, **ws.get_json(digest)})
    releases = {row["release"] for row in rows.values() if _ran_in(row, world)}
    kept = [
        row
        for row in rows.values()
        if _ran_in(row, world) or (row["executor"] != Origin.IMAGINED and row["release"] in releases)
    ]
    return {"schema": SCHEMA, "world": world, "trials": kept}


def _ran_in(row: Mapping[str, Any], world: str) -> bool:
    return bool(row["executor"] == Origin.IMAGINED and row.get("world", "") == world)


def read(tree: Mapping[str, Any], *, where: str = "paired trials") -> tuple[RecordedTrial, ...]:
    """Read back what :func:`collect` made.

    Raises:
        DataRefused: another schema, or an imagined trial of another world model.
    """
    if tree.get("schema") != SCHEMA:
        raise DataRefused("not paired trials this version reads", got=tree.get("schema"), where=where)
    out = []
    for row in tree["trials"]:
        trial = decode(Trial, {k: v for k, v in row.items() if k not in _EXTRA}, where=f"{where}:{row['digest'][:12]}")
        if trial.executor is Origin.IMAGINED and trial.world != tree["world"]:
            raise DataRefused("a trial in another world model", got=trial.world[:12], where=where)
        out.append(RecordedTrial(digest=row["digest"], trial=trial, chosen_by=str(row.get("chosen_by", ""))))
    return tuple(out)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One release on one scenario with one seed at one site, for real and imagined."""

    scene: str
    """Digest of the scenario."""
    release: str
    seed: int
    site: str
    real: Trial
    imagined: Trial

    @property
    def succeeded(self) -> bool:
        """For real; an excluded run did not."""
        return self.real.success and not self.real.excluded

    @property
    def said_success(self) -> bool:
        """In the world model; an excluded run counts as one that said so."""
        return self.imagined.success or bool(self.imagined.excluded)

    @property
    def violated(self) -> bool:
        """A limit was crossed for real, or nobody knows."""
        return self.real.violations > 0 or bool(self.real.excluded)

    @property
    def said_violation(self) -> bool:
        """The world model said that one would be."""
        return self.imagined.violations > 0 and not self.imagined.excluded

    @property
    def known_failure(self) -> bool:
        """It failed or crossed a limit for real: what a world model must not miss."""
        return not self.succeeded or self.violated

    @property
    def warned(self) -> bool:
        """The world model said failure or violation."""
        return not self.said_success or self.said_violation


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """What could be paired, and what could not."""

    pairs: tuple[Pair, ...]
    scenes_run: int
    """Scenes that those releases ran in the population at those sites."""
    beyond: int
    """Imagined trials refused: longer than the horizon, or of unknown length."""
    repeats: int
    """Trials that repeat a release, scenario, seed and site."""

    @property
    def scenes(self) -> int:
        """Scenes with a pair."""
        return len({p.scene for p in self.pairs})

    @property
    def share(self) -> Fraction:
        """Of the scenes that were run, those with a pair; 0 of none."""
        return Fraction(self.scenes, self.scenes_run) if self.scenes_run else Fraction(0)

    def table(self) -> dict[str, int]:
        """Scenes by outcome: ``k00, k01, k10, k11``, first real, then imagined; the worst pair of a scene speaks."""
        worst: dict[str, str] = {}
        order = ("k01", "k10", "k00", "k11")
        for p in self.pairs:
            cell = f"k{int(p.succeeded)}{int(p.said_success)}"
            worst[p.scene] = min(worst.get(p.scene, cell), cell, key=order.index)
        return {cell: sum(v == cell for v in worst.values()) for cell in ("k00", "k01", "k10", "k11")}

    def optimistic(self) -> Scenes:
        """1 for a scene in which the model said success where reality failed, in any pair."""
        told = [(p.scene, int(p.said_success and not p.succeeded)) for p in self.pairs]
        return one_per_scene(told, rule="largest")

    def caught(self) -> Scenes:
        """Scenes with a known failure: 1 if the model gave warning of all of them."""
        return one_per_scene([(p.scene, int(p.warned)) for p in self.pairs if p.known_failure], rule="least")

    def missed(self) -> Scenes:
        """Scenes in which a limit was really crossed: 1 if the model said no of any."""
        return one_per_scene([(p.scene, int(not p.said_violation)) for p in self.pairs if p.violated], rule="largest")

    def false_alarms(self) -> Scenes:
        """Scenes in which none was crossed: 1 if the model said so."""
        kept = [p for p in self.pairs if not p.violated]
        return one_per_scene([(p.scene, int(p.said_violation)) for p in kept], rule="largest")

    def rates(self) -> tuple[dict[str, Fraction], dict[str, Fraction], dict[str, int]]:
        """By release: real and imagined share of the paired scenes that succeed, and the number of those scenes."""
        real: dict[str, Fraction] = {}
        imagined: dict[str, Fraction] = {}
        scenes: dict[str, int] = {}
        for release in sorted({p.release for p in self.pairs}):
            own = [p for p in self.pairs if p.release == release]
            ran = one_per_scene([(p.scene, int(p.succeeded)) for p in own], rule="mean")
            said = one_per_scene([(p.scene, int(p.said_success)) for p in own], rule="mean")
            scenes[release] = ran.n
            real[release] = sum(ran.counted(0), Fraction(0)) / ran.n
            imagined[release] = sum(said.counted(0), Fraction(0)) / said.n
        return real, imagined, scenes


def within(trial: Trial, steps: int) -> bool:
    """Whether an imagined trial stays within the horizon; one of unknown length, or cut short by it, does not."""
    length = trial.metrics.get("steps")
    return length is not None and 0 < length <= steps and not trial.excluded.startswith(BEYOND)


def admitted_steps(admission: Mapping[str, Any], site: str) -> int:
    """The horizon up to which an admission lets a world model's rollouts count at a site; 0 where it does not.

    Args:
        admission: payload of a decision.
        site: where.

    The least over the signals it admits: a rollout is good as long as all of it is.
    """
    if admission["gate"] != "admission" or admission["verdict"] != "ADMIT" or site not in admission["scope"]["sites"]:
        return 0
    return min((int(item["steps"]) for item in admission["admitted"]), default=0)


def pair(trials: Sequence[RecordedTrial], *, sites: Collection[str], origins: Collection[Origin], steps: int) -> Paired:
    """Put trials side by side.

    Args:
        trials: of one world model, in ledger order (:func:`read`).
        sites: only trials on slots of these.
        origins: of the trials that count as reality: real, or simulated where a policy lets it stand in.
        steps: the admitted horizon; imagined trials beyond it are refused.
    """
    ran: dict[tuple[str, str, int, str], Trial] = {}
    said: dict[tuple[str, str, int, str], Trial | None] = {}
    beyond = repeats = 0
    for item in trials:
        trial = item.trial
        site = trial.slot.split("/")[0]
        key = (trial.scenario, trial.release, trial.seed, site)
        imagined = trial.executor is Origin.IMAGINED
        if site not in sites or (not imagined and trial.executor not in origins):
            continue
        if key in (said if imagined else ran):
            repeats += 1
        elif not imagined:
            ran[key] = trial
        else:  # one that is refused still holds its place: running it again, shorter, is running it again
            said[key] = trial if within(trial, steps) else None
            beyond += said[key] is None
    pairs = [
        Pair(scene=key[0], release=key[1], seed=key[2], site=key[3], real=trial, imagined=other)
        for key, trial in ran.items()
        if (other := said.get(key)) is not None
    ]
    return Paired(pairs=tuple(pairs), scenes_run=len({key[0] for key in ran}), beyond=beyond, repeats=repeats)


def discounted(
    trials: Sequence[RecordedTrial], *, release: str, site: str, origins: Collection[Origin], steps: int, alpha: Number
) -> Discounted:
    """The optimism-discounted bound of one release's real success at a site, from the ledger's trials.

    Pairs say how optimistic the world model is; its other imagined trials of the release say what it expects. Reported,
    never gating.

    Args:
        trials: of one world model, in ledger order.
        release: whose success.
        site: where.
        origins: of the trials that count as reality.
        steps: the admitted horizon; imagined trials beyond it are refused.
        alpha: one-sided level.

    Raises:
        UsageError: no pair, or alpha outside (0, 1).
    """
    own = [t for t in trials if t.trial.release == release]
    found = pair(own, sites=[site], origins=origins, steps=steps)
    together = {p.scene for p in found.pairs}
    alone = [
        (t.trial.scenario, None if t.trial.excluded else int(t.trial.success))
        for t in own
        if t.trial.executor is Origin.IMAGINED
        and t.trial.slot.split("/")[0] == site
        and within(t.trial, steps)
        and t.trial.scenario not in together
    ]
    ran = [(p.scene, None if p.real.excluded else int(p.real.success)) for p in found.pairs]
    said = [(p.scene, None if p.imagined.excluded else int(p.imagined.success)) for p in found.pairs]
    return optimism_discounted(
        one_per_scene(alone, rule="first"), one_per_scene(ran, rule="first"), one_per_scene(said, rule="first"), alpha
    )
