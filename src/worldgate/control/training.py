"""Training a policy as a stage of the record: a dataset's digest in, a release's digest out, and what it was fed.

A policy that predicts chunks is trained by the loop that trains world models, so it resumes, keeps snapshots and writes
metrics as they do; its run lies in ``runs/<run id>`` of the workspace, and asking again for the same finds it. The
small ones (``mlp``) are fitted in one go.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from worldgate.control.policies._release import Fitted
from worldgate.core import seams
from worldgate.core.config import decode
from worldgate.core.digest import short
from worldgate.core.episodes import Episode
from worldgate.core.errors import CapabilityMissing, NotFound, UsageError
from worldgate.core.progress import Progress, silent
from worldgate.data import datasets
from worldgate.evidence.decide import put_evidence
from worldgate.evidence.gate_evidence import TrainingRecord
from worldgate.fleet import releases
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace
from worldgate.worlds import checkpoint
from worldgate.worlds.sizes import Size, config_of
from worldgate.worlds.train import loop, monitor
from worldgate.worlds.train.stage import STARTED

SEAM = "policies/"
"""What a run's family begins with when it trains a policy."""
REGISTERED = "release.registered"


def config_for(policy: str, size: Size = Size.SMALL) -> Any:
    """A policy's configuration at a size.

    Raises:
        NotFound: no such policy.
        CapabilityMissing: one that is not trained here, or that comes in one size.
    """
    module = seams.load("policies", policy)
    if hasattr(module, "create"):
        return config_of(policy, cast(Any, module), size)
    if not hasattr(module, "train"):
        able = ", ".join(name for name in seams.cards("policies") if _trainable(name))
        raise CapabilityMissing("this policy is not trained here", got=policy, hint=f"one of {able}")
    if size is not Size.SMALL:
        raise CapabilityMissing("this policy comes in one size", got=f"{policy} {size}", hint="--set for its widths")
    return module.Config()


def _trainable(policy: str) -> bool:
    module = seams.load("policies", policy)
    return hasattr(module, "create") or hasattr(module, "train")


def train(ws: Workspace, dataset: str, policy: str, config: Any, *, name: str = "", progress: Progress = silent) -> Ref:
    """Train a policy on a dataset's ``train`` split, judged on ``val`` beside the loss, and register the release.

    Args:
        ws: the workspace.
        dataset: its digest.
        policy: a name in the ``policies`` seam.
        config: of :func:`config_for`.
        name: what people will call the release; empty: the policy's.
        progress: reported to at every step.

    Raises:
        NotFound: no such dataset, or no ``train`` split in it.
        Interrupted: stopped by the user; the hint resumes.
        UsageError: several processes.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError("a policy is trained by one process", got=os.environ["WORLD_SIZE"], hint="without torchrun")
    family = SEAM + policy
    asked = {"dataset": dataset, "family": family, "config": dataclasses.asdict(config), "name": name or policy}
    digest = ws.put_json(asked)
    made = _made(ws, digest)
    if made is not None:
        return made
    run = Ref("run", digest, short(digest))
    if not any(run.digest == out.digest for e in ws.ledger.events(STARTED) for out in e.outputs):
        body = {"run": run.name, "family": family, "code": loop.code_digest(), "processes": 1}
        ws.record(STARTED, body=body, inputs=[Ref("dataset", dataset)], outputs=[run])
    return _go(ws, asked, run, config, progress)


def is_policy(ws: Workspace, run: str) -> bool:
    """Whether a run trains a policy.

    Raises:
        NotFound: no such run.
    """
    return str(ws.get_json(ws.resolve(run, "run").digest)["family"]).startswith(SEAM)


def resume(ws: Workspace, run: str, *, progress: Progress = silent) -> Ref:
    """Go on with a run by its id, from its newest snapshot; a finished one is returned as it is.

    Raises:
        NotFound: no such run.
    """
    found = ws.resolve(run, "run")
    asked = cast(dict[str, Any], ws.get_json(found.digest))
    kind = type(config_for(asked["family"].removeprefix(SEAM)))
    config = decode(kind, asked["config"], where=f"run {short(found.digest)}")
    return _made(ws, found.digest) or _go(ws, asked, found, config, progress)


def held_out_figures(ws: Workspace, run: str) -> dict[str, float]:
    """The last held-out figures of a run; none for what was fitted in one go."""
    metrics = ws.root / "runs" / run / "metrics.jsonl"
    return monitor.last_facts(metrics) if metrics.exists() else {}


def run_of(ws: Workspace, release: Ref) -> str:
    """The id of the run that made a release; empty: none that is recorded."""
    for event in ws.ledger.events(REGISTERED):
        if release in event.outputs:
            return next((short(ref.digest) for ref in event.inputs if ref.kind == "run"), "")
    return ""


def _made(ws: Workspace, run: str) -> Ref | None:
    """The release that a run made, where it ended."""
    for event in ws.ledger.events(REGISTERED):
        if any(ref.digest == run for ref in event.inputs):
            return event.outputs[0]
    return None


def _go(ws: Workspace, asked: dict[str, Any], run: Ref, config: Any, progress: Progress) -> Ref:
    episodes = datasets.load(ws, asked["dataset"], "train")
    try:
        held_out = datasets.load(ws, asked["dataset"], "val")
    except NotFound:
        held_out = []
    module = seams.load("policies", asked["family"].removeprefix(SEAM))
    report = monitor.plain(progress)
    if hasattr(module, "create"):
        fitted = _looped(ws.root / "runs" / short(run.digest), asked, episodes, held_out, config, report)
    else:
        fitted = module.train(episodes, config, report)
    return publish(ws, fitted, episodes, dataset=asked["dataset"], name=asked["name"], inputs=[run])


def _looped(
    run_dir: Path,
    asked: dict[str, Any],
    episodes: Sequence[Episode],
    held_out: Sequence[Episode],
    config: Any,
    report: monitor.Report,
) -> Fitted:
    if (run_dir / "config.json").is_file():
        folder = loop.resume(run_dir, episodes, held_out, report)
    else:
        folder = loop.train(asked["family"], episodes, held_out, config, run_dir, report, dataset=asked["dataset"])
    fitted: Fitted = cast(Any, checkpoint.restore(folder)[1]).fitted()
    return fitted


def publish(
    ws: Workspace,
    fitted: Fitted,
    episodes: Sequence[Episode],
    *,
    dataset: str,
    name: str,
    inputs: Sequence[Ref] = (),
) -> Ref:
    """Register a release with the record of what it was fed; gates and regressions read both."""
    ref = fitted.publish(ws, name=name, dataset=dataset, code=loop.code_digest(), inputs=inputs)
    release = releases.load(ws, ref.digest)
    record = TrainingRecord(
        subject=next(iter(release.weights.values())),
        dataset=dataset,
        normaliser=release.normaliser.digest,
        signals=(*release.observation, release.action),
        episodes=tuple(e.id for e in episodes),
        origin=episodes[0].origin,
        logs=tuple(dict.fromkeys(e.log for e in episodes)),
    )
    put_evidence(ws, record, inputs=[Ref("dataset", dataset), ref])
    return ref
