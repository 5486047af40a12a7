"""The check stage: one check on one log, wherever that runs."""

from __future__ import annotations

from typing import Any

from worldgate.data import checks
from worldgate.data.opening import open_log, where_from
from worldgate.engines import Made, Place

STAGE = "worldgate.data.check_stage:look"


def look(place: Place, inputs: tuple[str, ...], config: Any) -> Made:
    """What a check finds in a log.

    Args:
        place: where the source's bytes are.
        inputs: the source.
        config: ``{"log": Where, "check", "params"}``.
    """
    log = open_log(place, inputs[0], where_from(config["log"]))
    return Made(value=list(checks.run(config["check"], log, config["params"], where=f"checks.{config['check']}")))
