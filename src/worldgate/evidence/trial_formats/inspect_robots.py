"""EvalLog files of inspect-robots (schema version 1): one JSON file an evaluation, its scenes with one entry an epoch.

Source: ``inspect_robots/log.py`` and ``logging/json_log.py`` of inspect-robots 0.60. What its file does not hold is not
guessed: it names no arm, so the caller does; it measures no envelope, so a trial of a scenario with limits is excluded
as not measured; it keeps no seed a trial; it tells the time of the evaluation, not of a trial, and every trial is taken
to have begun when the evaluation did, which none can have done earlier. An epoch without scores is a trial that broke
off, and is excluded; so is one whose verdict is asked of a person and that no person gave: the score ``operator`` is 0
then, and a vision-language model may have spoken for them. ``scene_id`` is the scenario's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from worldgate.core.config import decode
from worldgate.core.errors import ConfigError, DataRefused, UsageError
from worldgate.core.streams import Origin
from worldgate.core.times import parse_ns
from worldgate.evidence.told import Asked, Entry, Told
from worldgate.evidence.trial_formats._json import load

CARD = {
    "line": "EvalLog files of inspect-robots, schema version 1",
    "inputs": "a .json file with version, status, eval, results, stats and samples",
    "source": "inspect-robots 0.60: log.py, logging/json_log.py",
}
VERSION = 1
_PERSON, _REACHED = "operator", "success_at_end"
"""Scores that are success by their definition; the person's goes first where a person judged."""
_MODEL = "vlm"
"""The source of a judgement that no person gave."""
_KEYS = frozenset({"version", "status", "eval", "results", "stats", "samples", "error"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spec:
    task: str
    policy: str
    embodiment: str
    created: str
    inspect_robots_version: str
    git_commit: str | None = None
    policy_config: Mapping[str, Any] = field(default_factory=dict)
    embodiment_info: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    max_steps: int | None = None
    max_seconds: float | None = None
    environment_id: str | None = None
    environment_revision: str | None = None
    policy_checkpoint: str | None = None
    grader: str | None = None
    grader_config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scene:
    scene_id: str
    status: str
    reduced: Mapping[str, float | None] = field(default_factory=dict)
    epochs: tuple[Mapping[str, float | None], ...] = ()
    error: str | None = None
    instruction: str | None = None
    scene_metadata: Mapping[str, Any] = field(default_factory=dict)
    operator_judgements: tuple[str | None, ...] = ()
    judgement_sources: tuple[str | None, ...] = ()
    operator_notes: tuple[str | None, ...] = ()
    operator_messages: tuple[Any, ...] = ()
    trial_metadata: tuple[Any, ...] = ()
    termination_reasons: tuple[str | None, ...] = ()
    policy_transcripts: tuple[Any, ...] = ()


def accepts(path: Path) -> bool:
    """Whether it is an EvalLog."""
    if path.suffix.lower() != ".json":
        return False
    tree = load(path)
    told = tree.get("eval") if isinstance(tree, dict) else None
    return isinstance(told, dict) and "inspect_robots_version" in told


def read(path: Path, asked: Asked) -> Told:
    """Read every epoch of every scene.

    Raises:
        DataRefused: another version, an unknown key, an evaluation that did not end, or a score that is not 0 or 1.
    """
    tree = load(path)
    if not isinstance(tree, dict) or tree.get("version") != VERSION or not tree.keys() <= _KEYS:
        got = tree.get("version") if isinstance(tree, dict) else None
        raise DataRefused("not an EvalLog that this reader knows", got=f"version {got}", where=path, hint="version 1")
    try:
        spec = decode(_Spec, tree.get("eval") or {}, where=f"{path}:eval")
        samples = [decode(_Scene, s, where=f"{path}:samples.{i}") for i, s in enumerate(tree.get("samples") or ())]
        started = parse_ns(str((tree.get("stats") or {}).get("started_at")))
    except (UsageError, TypeError, AttributeError, ValueError) as error:
        told = error if isinstance(error, ConfigError) else None
        got = told.got if told else str(error)[:80]
        raise DataRefused("an EvalLog that cannot be read", got=got, where=told.where if told else path) from error
    if tree.get("status") == "started" or not any(scene.epochs for scene in samples):
        raise DataRefused("an evaluation without trials, or not at its end", got=tree.get("status"), where=path)
    entries = [
        _entry(scene, epoch, f"{path}:samples.{place}.epochs.{epoch}", started, asked)
        for place, scene in enumerate(samples)
        for epoch in range(len(scene.epochs))
    ]
    return Told(entries=tuple(entries), origin=_origin(spec), checkpoint=spec.policy_checkpoint or "")


def _origin(spec: _Spec) -> Origin | None:
    simulated = spec.embodiment_info.get("is_simulated")
    if not isinstance(simulated, bool):
        return None
    return Origin.SIMULATED if simulated else Origin.REAL


def _entry(scene: _Scene, epoch: int, where: str, started: int, asked: Asked) -> Entry:
    scores = scene.epochs[epoch]
    success, excluded = False, ""
    by_person = _PERSON in scores and (_judged(scene, epoch) or _REACHED not in scores)
    name = asked.score or (_PERSON if by_person else _REACHED)
    if not scores:
        excluded = f"broke off: {scene.error or scene.status}"[:200]
    elif name == _PERSON and name in scores and not _judged(scene, epoch):
        excluded = "no person judged it"
    else:
        success = _success(scores, name, where)
    return Entry(
        where=where,
        scenario=scene.scene_id,
        slot=asked.slot,
        success=success,
        violations=None,
        started_ns=started,
        excluded=excluded,
    )


def _judged(scene: _Scene, epoch: int) -> bool:
    """Whether a person gave a verdict on it."""
    source = scene.judgement_sources[epoch] if epoch < len(scene.judgement_sources) else None
    given = scene.operator_judgements[epoch] if epoch < len(scene.operator_judgements) else None
    return given is not None and source != _MODEL


def _success(scores: Mapping[str, float | None], name: str, where: str) -> bool:
    if name not in scores:
        hint = f"--score, one of {', '.join(scores)}"
        raise DataRefused("no score of success", got=", ".join(scores), where=where, hint=hint)
    value = scores[name]
    if value not in (0.0, 1.0):
        raise DataRefused("success must be 1 or 0", got=f"{name} {value}", where=where)
    return value == 1.0
