"""``worldgate world samples``: which recordings a step of a training run learned from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worldgate.cli._output import JsonFlag, Table, answer
from worldgate.cli._workspace import WorkspaceOption, open_workspace

if TYPE_CHECKING:
    from worldgate.data.loader import Proof


def samples(
    run: str,
    /,
    *,
    step: int,
    phase: int = 0,
    prove: bool = False,
    workspace: WorkspaceOption = None,
    json: JsonFlag = False,
) -> None:
    """Follow the samples of a training step back to their recordings.

    For example:

        worldgate world samples 4c7a9a17 --step 120
        worldgate world samples 4c7a9a17 --step 120 --prove

    Runs that learn from clips keep 16 bytes a sample. With --prove each recording is read again, aligned again, and its
    frames are held against those that training was served: the answer is 1 where one of them differs.

    Args:
        run: Id of a training run.
        step: Counted from 1.
        phase: Number of the phase, as in metrics.jsonl.
        prove: Read the recordings again.
    """
    from worldgate.core.errors import Tampered
    from worldgate.worlds.train import tracing

    with open_workspace(workspace) as ws:
        found, table = tracing.samples(ws, run, step, phase=phase)
        proofs = [proof for _, proof in tracing.proofs(ws, run, step, phase=phase)] if prove else []
    rows = [
        (s.episode, s.log[:12], s.row, f"{s.first} to {s.last}", *([_said(proofs[i])] if prove else []))
        for i, s in enumerate(found)
    ]
    columns = ("episode", "log", "first row", f"frames of {table.lead}", *(["recording"] if prove else []))
    body = {
        "run": run,
        "phase": phase,
        "step": step,
        "samples": [
            {
                "episode": s.episode,
                "log": s.log,
                "row": s.row,
                "first": s.first,
                "last": s.last,
                **({"proof": proofs[i].ok, "exact": proofs[i].exact} if prove else {}),
            }
            for i, s in enumerate(found)
        ],
    }
    said = f"step {step} of phase {phase}: {len(found)} samples of {table.frames} frames"
    answer("world.samples", body, Table(columns=columns, rows=rows), said, as_json=json)
    wrong = [s.episode for s, proof in zip(found, proofs, strict=False) if not proof.ok]
    if wrong:
        raise Tampered("training was served other frames than the recording holds", got=wrong[0], where=f"step {step}")


def _said(proof: Proof) -> str:
    return "the same bytes" if proof.exact else "within its bound" if proof.ok else "differs"
