"""``--encoder``: pixels, or the tokenizer of a world model of the workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worldgate.core.encoders import Encoder
    from worldgate.record.events import Ref
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


def encoder_of_contract(ws: Workspace, contract: Ref) -> Encoder | None:
    """The encoder by which a contract asks for likeness; None where it does not ask.

    Raises:
        NotFound: the world model that it names is not in this workspace.
        CapabilityMissing: a world model without a tokenizer of pictures.
    """
    from worldgate.data import contracts
    from worldgate.data.duplicates.rules import Policy

    asked = contracts.load(ws, contract.digest).duplicates.alike
    return None if asked.policy is Policy.IGNORE else chosen_encoder(ws, asked.encoder)
