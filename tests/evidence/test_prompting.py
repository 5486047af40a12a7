"""What prompts are worth: a lamp that follows a command, and models that read, ignore or merely like prompts.

Shape legend: B samples, K steps.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from tests.evidence.worlds_to_judge import FRONT, RATE_HZ, STEP_NS, rows

from worldgate.core.digest import sha256
from worldgate.core.episodes import Episode
from worldgate.core.errors import CapabilityMissing, DataRefused, NotFound, UsageError
from worldgate.core.streams import Kind, Origin
from worldgate.core.worlds import Capability, Frame, ModelSpec, Prompt, Signal
from worldgate.evidence.prompting import KINDS, Prompts, PromptsConfig, measure

LEVELS = {"dark": 0.2, "dusk": 0.5, "bright": 0.8}
FAST = PromptsConfig(windows=2, samples=4, resamples=200)


def lamp(seed: int, *, origin: Origin = Origin.SIMULATED, text: str = "") -> Episode:
    """Brightness around the level that the text names, pulled towards the command in every row."""
    rng = np.random.default_rng(seed)
    word = text or list(LEVELS)[seed % 3]
    commands = np.clip(LEVELS[word] + rng.normal(0, 0.1, 6), 0.05, 0.95).repeat(6)
    level = np.empty(36)
    level[0] = commands[0]
    for t in range(1, 36):
        level[t] = level[t - 1] + 0.4 * (commands[t - 1] - level[t - 1])
    streams = {
        "level": rows("level", Kind.VECTOR, level[:, None], "m", ("level",)),
        "action": rows("action", Kind.ACTION, commands[:, None], "m", ("level",)),
        FRONT: rows(FRONT, Kind.IMAGE, shine(level)),
    }
    return Episode(
        id=sha256(f"lamp {seed} {text}".encode()),
        log=sha256(f"log {seed}".encode()),
        name=f"lamp-{seed}",
        alignment=sha256(b"grid"),
        origin=origin,
        rate_hz=RATE_HZ,
        times_ns=np.arange(36, dtype=np.int64) * STEP_NS,
        streams=streams,
        facts={"word": word},
    )


def shine(level):
    return np.broadcast_to(np.round(255 * level)[..., None, None, None], (*np.shape(level), 16, 16, 3)).astype(np.uint8)


def read(held, camera, size):
    return held.array(camera)


SPEC = ModelSpec(
    family="fake",
    digest="1" * 64,
    normaliser="",
    rate_hz=RATE_HZ,
    context=3,
    states=(Signal(name="level", unit="m", names=("level",), shape=(1,)),),
    cameras=(Signal(name=FRONT, shape=(16, 16, 3), kind=Kind.IMAGE),),
    action=Signal(name="action", unit="m", names=("level",), shape=(1,)),
    text=("word",),
)
ALL = frozenset(
    {Capability.PARTIAL, Capability.TEXT, Capability.FRAMES, Capability.AHEAD, Capability.ACTIONS, Capability.STATE}
)


@dataclass
class Lamp:
    """A model of it; ``deaf`` ignores every prompt, ``eager`` says the middle as soon as there is any."""

    deaf: bool = False
    eager: bool = False
    capabilities: frozenset[Capability] = ALL
    spec: ModelSpec = SPEC
    opened: list[Prompt] = field(default_factory=list)

    def open(self, prompt, *, samples=1, seed):
        self.opened.append(prompt)
        return _Lit(self, prompt, samples, np.random.default_rng(seed))


class _Lit:
    def __init__(self, model, prompt, samples, rng):
        self.model, self.prompt, self.time = model, prompt, 0
        self.level_B = rng.uniform(0.05, 0.95, samples)
        noise_B = rng.normal(0, 0.05, samples)
        any_of = bool(prompt.text or prompt.frames or prompt.states or prompt.ahead)
        if model.deaf:
            return
        if model.eager:
            self.level_B = 0.5 + noise_B if any_of else np.ones(samples)
            return
        if prompt.text:
            self.level_B = LEVELS[prompt.text] + noise_B
        if prompt.frames:
            self.level_B = prompt.frames[FRONT][-1].mean() / 255 + noise_B / 5

    def step(self, actions_BKA):
        steps = 1 if actions_BKA is None else actions_BKA.shape[1]
        out_BK = np.empty((len(self.level_B), steps))
        for k in range(steps):
            self.time += 1
            if not self.model.deaf and not self.model.eager:
                self._move(None if actions_BKA is None else actions_BKA[:, k, 0])
            elif self.model.eager and actions_BKA is not None:
                self.level_B = np.full_like(self.level_B, 0.5)
            out_BK[:, k] = self.level_B
        return Frame(states={"level": out_BK[..., None]}, frames={FRONT: shine(np.clip(out_BK, 0, 1))})

    def _move(self, command_B):
        if command_B is not None:
            self.level_B = self.level_B + 0.4 * (command_B - self.level_B)
        later = [s for s in self.prompt.ahead_steps if s >= self.time]
        if later:
            goal = self.prompt.ahead[FRONT][self.prompt.ahead_steps.index(later[0])].mean() / 255
            self.level_B = self.level_B + (goal - self.level_B) / (later[0] - self.time + 1)


EPISODES = [lamp(seed) for seed in range(12)]


@pytest.fixture(scope="module")
def good() -> Prompts:
    return measure(Lamp(), EPISODES, FAST, references=[lamp(s) for s in range(50, 56)], read_frames=read)


def test_every_kind_of_prompt_that_is_read_is_worth_something(good: Prompts) -> None:
    assert {row.kind for row in good.rows} == set(KINDS)
    assert not good.not_measured
    assert all(row.works for row in good.rows), [(r.kind, r.stream) for r in good.rows if not r.works]
    ahead = [r for r in good.rows if r.kind == "first_last"]
    assert all(r.less == "image" and r.over_less is not None and r.over_less.lower > 0 for r in ahead)


def test_a_model_that_ignores_its_prompts_gains_nothing() -> None:
    found = measure(Lamp(deaf=True), EPISODES, FAST, read_frames=read)
    assert all(row.over_null.value == row.over_wrong.value == 0.0 for row in found.rows)
    assert not any(row.works for row in found.rows)


def test_a_model_that_gains_by_any_prompt_is_told_from_one_that_reads_it() -> None:
    found = measure(Lamp(eager=True), EPISODES, FAST, read_frames=read)
    shown = [row for row in found.rows if row.kind == "text"]
    assert all(row.over_null.lower > 0 and row.over_wrong.value == 0.0 and not row.works for row in shown)


def test_the_wrong_text_is_another_text_and_the_answer_is_never_scored() -> None:
    model = Lamp()
    measure(model, EPISODES, PromptsConfig(kinds=("text", "frames"), windows=1, samples=2), read_frames=read)
    said = [p for p in model.opened if p.text]
    assert len(said) == 2 * len(EPISODES)
    assert all(a.text != b.text for a, b in zip(said[::2], said[1::2], strict=True))
    only = measure(
        Lamp(), EPISODES, PromptsConfig(kinds=("frames",), seconds=0.2, windows=1, samples=2), read_frames=read
    )
    told = next(row for row in only.rows if row.stream == FRONT)
    assert told.error.value is None, "both steps are known"


@pytest.mark.parametrize(("lacks", "kinds"), [
    (Capability.TEXT, {"text", "mixture"}),
    (Capability.AHEAD, {"first_last", "frames", "mixture"}),
    (Capability.ACTIONS, {"actions", "driven", "mixture"}),
])  # fmt: skip
def test_what_a_model_lacks_is_named_and_the_rest_is_measured(lacks: Capability, kinds: set[str]) -> None:
    found = measure(Lamp(capabilities=ALL - {lacks}), EPISODES[:6], FAST, read_frames=read)
    assert set(found.not_measured) == kinds
    assert {row.kind for row in found.rows} == set(KINDS) - kinds


def test_one_text_for_all_episodes_says_nothing() -> None:
    alike = [lamp(seed, text="dusk") for seed in range(5)]
    both = measure(Lamp(), alike, PromptsConfig(kinds=("text", "image"), samples=2), read_frames=read)
    assert both.not_measured == {"text": "all held-out episodes have the same text"}


def test_it_refuses_what_it_cannot_judge() -> None:
    with pytest.raises(CapabilityMissing, match="cannot do this"):
        measure(Lamp(capabilities=ALL - {Capability.PARTIAL}), EPISODES, FAST, read_frames=read)
    with pytest.raises(UsageError, match="another episode"):
        measure(Lamp(), EPISODES[:1], FAST, read_frames=read)
    with pytest.raises(UsageError, match="long enough"):
        measure(Lamp(), EPISODES, PromptsConfig(seconds=9.0), read_frames=read)
    with pytest.raises(NotFound, match="no such kind"):
        measure(Lamp(), EPISODES, PromptsConfig(kinds=("smell",)), read_frames=read)
    with pytest.raises(DataRefused, match="never mix"):
        measure(Lamp(), [*EPISODES, lamp(90, origin=Origin.REAL)], FAST, read_frames=read)
    with pytest.raises(UsageError):
        PromptsConfig(samples=1)


def test_a_report_reads_back(good: Prompts) -> None:
    assert Prompts.from_json(good.to_json()) == good
    with pytest.raises(DataRefused):
        Prompts.from_json({**good.to_json(), "schema": "worldgate/prompts/9"})


def test_the_same_seed_gives_the_same_report(good: Prompts) -> None:
    again = measure(Lamp(), EPISODES, FAST, references=[lamp(s) for s in range(50, 56)], read_frames=read)
    assert again.rows == good.rows
