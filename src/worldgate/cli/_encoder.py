"""``--encoder``: pixels, or the tokenizer of a world model of the workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worldgate.core.encoders import Encoder
    from worldgate.record.workspace import Workspace


def chosen_encoder(ws: Workspace, name: str) -> Encoder:
    """The encoder of this name.

    Raises:
        NotFound: no such world model.
        CapabilityMissing: a world model without a tokenizer of pictures.
    """
    if name == "pixels":
        from worldgate.data.search.pixels import PixelEncoder

        return PixelEncoder()
    from worldgate.worlds.encoders import encoder_of
    from worldgate.worlds.train.stage import load

    return encoder_of(load(ws, ws.resolve(name, "world_model").digest))
