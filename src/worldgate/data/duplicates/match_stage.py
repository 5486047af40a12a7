"""The match stage: the sketches of a set of logs against each other, once for the same set, rules and code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from worldgate.core.config import decode
from worldgate.data.duplicates.match import matches
from worldgate.data.duplicates.rules import MatchConfig
from worldgate.data.duplicates.stage import read_sketch
from worldgate.engines import Made, Place

STAGE = "worldgate.data.duplicates.match_stage:match"


def match(place: Place, inputs: tuple[str, ...], config: Any) -> Made:
    """Every pair of logs that hold the same evidence.

    Args:
        place: whose cache holds the sketches.
        inputs: digests of the logs.
        config: ``{"sketches": path in the cache of each log's sketch, "match": MatchConfig}``.
    """
    rules = decode(MatchConfig, config["match"], where="duplicates.match")
    sketches = [read_sketch(Path(place.cache), file) for file in config["sketches"]]
    return Made(value=matches(inputs, sketches, rules))
