"""The demo's releases: r0 and r1 by an expert who ignores the person, r2 and r3 by one who gives way.

r2 and r3 hold the same weights; r2 was exported with one statistic in millimetres. With ``learned`` they are cloned
from demonstrations in the cell; without, the scripted controller itself is released, which needs no torch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import replace

from worldgate.control import policies
from worldgate.control.demonstrations import LABEL, demonstrate
from worldgate.control.policies import scripted
from worldgate.control.policies._release import Fitted
from worldgate.core.episodes import Episode
from worldgate.core.names import Slot
from worldgate.core.normalisers import Normaliser, Statistics
from worldgate.fleet import releases
from worldgate.recipes._cell_releases import Candidate, publish
from worldgate.recipes._cell_stage import Stage
from worldgate.record.events import Ref
from worldgate.sim.attributes import Attributes
from worldgate.sim.environment import CellEnvironment
from worldgate.sim.experts import EXPERTS, Expert
from worldgate.sim.sensing import ACTION, AROUND, STATE

WRONG = ("observation.environment_state", 0)
"""The statistic that r2's export wrote in millimetres: the mean of the object's x."""


def make(
    stage: Stage, *, expert: str, name: str, slots: Sequence[Slot], demonstrations: int, seed: int, learned: bool
) -> Candidate:
    """Fit or configure a policy after an expert, register it and keep the record of its training."""
    sites = sorted({str(slot.site) for slot in slots})
    with stage.story.progress(f"demonstrations for {name}") as progress:
        episodes = []
        for number in range(demonstrations):
            site = sites[number % len(sites)]
            world = CellEnvironment(site, attributes=Attributes(person=(number // len(sites)) % 2 == 1))
            shown = demonstrate(world, Expert(EXPERTS[expert], site), (STATE, AROUND, ACTION), seed=seed + number)
            episodes.append(shown)
            progress(number + 1, demonstrations)
    document = {
        "schema": "worldgate/demonstrations/1",
        "expert": expert,
        "sites": sites,
        "seed": seed,
        "episodes": [e.id for e in episodes],
    }
    dataset = Ref("dataset", stage.ws.put_json(document), f"demonstrations-{expert}-{seed}")
    stage.ws.record("demonstrations.made", body={"expert": expert, "episodes": len(episodes)}, outputs=(dataset,))
    fitted = _fit(stage, name, episodes, seed) if learned else _configure(expert, sites[0], episodes)
    return publish(stage, fitted, name=name, dataset=dataset, episodes=tuple(e.id for e in episodes))


def _fit(stage: Stage, name: str, episodes: Sequence[Episode], seed: int) -> Fitted:
    from worldgate.control.policies import mlp  # torch, which `demo --quick` does without

    with stage.story.progress(f"cloning {name}") as progress:
        return mlp.train(
            episodes,
            mlp.MlpConfig(label=LABEL, seed=seed),
            lambda p: progress(p.step, p.steps, f"loss {p.loss:.4f}"),
        )


def _configure(expert: str, site: str, episodes: Sequence[Episode]) -> Fitted:
    import numpy as np

    rows = {s.name: np.concatenate([e.array(s.name) for e in episodes]) for s in (STATE, AROUND)}
    return scripted.configure(EXPERTS[expert], site, Normaliser.fit(rows))


def with_wrong_statistic(stage: Stage, good: Candidate, *, name: str) -> Candidate:
    """The same weights with one statistic in millimetres instead of metres."""
    stream, channel = WRONG
    right = good.release.normaliser.statistics(stream)
    mean = tuple(m * 1000.0 if i == channel else m for i, m in enumerate(right.mean))
    statistics: dict[str, Statistics] = {**good.release.normaliser.streams, stream: replace(right, mean=mean)}
    wrong = dataclasses.replace(good.release, normaliser=Normaliser(streams=statistics))
    ref = releases.register(stage.ws, wrong, name=name)
    return Candidate(ref=ref, release=wrong, policy=policies.load(wrong, stage.ws.store), training=good.training)
