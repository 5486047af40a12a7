"""Improving a registered release inside a registered world model, and putting on record what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from worldgate.control.evaluating import fits
from worldgate.control.imagination.checking import Verdict
from worldgate.control.imagination.improve import Cloned, ImproveConfig, Improved, Improver
from worldgate.control.policies._release import WEIGHTS, Fitted, read_tensors, reference_index
from worldgate.core.errors import CapabilityMissing
from worldgate.core.progress import Progress, silent
from worldgate.core.streams import Array
from worldgate.fleet import releases
from worldgate.fleet.releases import Release
from worldgate.record.events import Ref
from worldgate.record.workspace import Workspace
from worldgate.sim.tasks import open_task
from worldgate.worlds.train import stage

IMPROVED = "policy.improved"


def cloned(release: Release, tensors: Mapping[str, Array]) -> Cloned:
    """A release of the policy ``mlp`` as it can learn.

    Raises:
        CapabilityMissing: another policy.
    """
    if release.policy != "mlp":
        hint = "worldgate train policy mlp DATASET"
        raise CapabilityMissing("only a policy without memory is improved in a model", got=release.policy, hint=hint)
    layers = [(tensors[f"{i}.weight"], tensors[f"{i}.bias"]) for i in range(len(tensors) // 2)]
    stream, channels = reference_index(release.observation, release.post, release.action)
    names = [signal.name for signal in release.observation]
    before = sum(signal.shape[0] for signal in release.observation[: names.index(stream)]) if stream else 0
    return Cloned(
        layers=tuple((np.asarray(weight, np.float64), np.asarray(bias, np.float64)) for weight, bias in layers),
        normaliser=release.normaliser,
        observation=release.observation,
        action=release.action,
        reference=tuple(before + channel for channel in channels),
    )


def improve(
    ws: Workspace,
    release: Ref,
    model: Ref,
    task: str,
    options: Mapping[str, Any],
    config: ImproveConfig,
    *,
    name: str = "",
    progress: Progress = silent,
) -> tuple[Ref | None, Improved]:
    """Improve a release, check it in the task, and register what came of it only where truth shows a gain.

    Args:
        ws: the workspace.
        release: of the policy ``mlp``.
        model: a world model that predicts what the release observes.
        task: the true environment, an entry of the seam tasks.
        options: of the task.
        config: how.
        name: of the new release; without, the old one's with ``-improved``.
        progress: called after every round.

    Raises:
        CapabilityMissing: a policy with memory, or a model that lacks a stream.
        DataRefused: release, model and task do not fit each other.
    """
    held, world, place = releases.load(ws, release.digest), stage.load(ws, model.digest), open_task(task, options)
    fits(held, place.spec)
    fits(held, world.spec)
    tensors = read_tensors({WEIGHTS: ws.store.get(held.weights[WEIGHTS])})
    made = Improver(world, cloned(held, tensors), place, config).go(progress)
    ref = None
    if made.check.verdict is Verdict.SEEN:
        fitted = Fitted(
            policy="mlp",
            tensors=made.tensors,
            normaliser=held.normaliser,
            observation=held.observation,
            action=held.action,
            controller=held.controller,
            pre=held.pre,
            post=held.post,
            runtime=held.runtime,
            seed=config.seed,
        )
        called = name or f"{release.name or release.digest[:12]}-improved"
        ref = fitted.publish(ws, name=called, dataset=held.dataset, parent=release.digest, inputs=(model,))
    body = {"task": task, "options": dict(options), "moved": made.moved, "uncertain": made.uncertain}
    ws.record(
        IMPROVED,
        body=body | made.check.body(),
        inputs=(release, model),
        outputs=() if ref is None else (ref,),
    )
    return ref, made
