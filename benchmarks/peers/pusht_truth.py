"""What judges are told of PushT's episodes, in the form that the measures of an evaluation look for.

The block's centre of mass as ``object.x`` and ``object.y``, in PushT's own pixels (its plane is 512 a side); class ids
by colour, the block's being that of objects; and contact as a force of one newton wherever the tool touches at all.
Made when episodes are opened, beside what was recorded; models are never fed any of it.

Shape legend: T rows, S pixels a side.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from pusht_env import AROUND, TOP, TOUCH

from worldgate.core.episodes import Episode, Rows
from worldgate.core.streams import Array, Kind
from worldgate.data import clips
from worldgate.evidence.evaluation.truth import CLASS_IDS, OBJECT
from worldgate.sim.tasks._pusht_expert import of_centre

BLOCK = (119, 136, 153)
"""Colour of the block."""
NEAR = 40
"""Most that a pixel of it may differ in any colour."""


def with_truth(episode: Episode, size: int) -> Episode:
    """The episode with three more streams."""
    poses_T3 = np.asarray(episode.array(AROUND), np.float64).reshape(len(episode), -1)
    centres = np.stack([of_centre(pose)[:2] for pose in poses_T3])
    points = np.asarray(episode.array(TOUCH), np.float64).reshape(len(episode), -1)[:, :1]
    force = np.concatenate([points > 0, np.zeros((len(episode), 2))], axis=1)
    pictures = clips.frames(episode, TOP, size).astype(np.int16)
    block = np.abs(pictures - np.array(BLOCK, np.int16)).max(axis=-1) <= NEAR
    around, touch, picture = (episode.streams[name] for name in (AROUND, TOUCH, TOP))
    more = {
        "truth.object": _rows(around, "truth.object", centres, names=("object.x", "object.y"), unit="px"),
        "truth.force": _rows(touch, "truth.force", force, names=("x", "y", "z"), unit="N"),
        "observation.segmentation.top": _rows(
            picture, "observation.segmentation.top", block.astype(np.uint8) * CLASS_IDS[OBJECT], kind=Kind.SEGMENTATION
        ),
    }
    return replace(episode, streams={**episode.streams, **more})


def _rows(
    like: Rows, name: str, values: Array, *, kind: Kind = Kind.VECTOR, names: tuple[str, ...] = (), unit: str = ""
) -> Rows:
    info = replace(like.info, name=name, kind=kind, shape=values.shape[1:], names=names, unit=unit)
    return replace(like, info=info, values=values)
