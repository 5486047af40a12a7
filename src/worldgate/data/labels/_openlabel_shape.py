"""The shape of the parts of OpenLABEL 1.0 that we read and write, as a JSON Schema of our own.

It says less than ASAM's: it holds what a reader here relies on, so that a damaged file is refused with a path to the
damage. ASAM's own schema is ASAM's text; a user who has it gives it by ``--json-schema``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_INTERVALS: Final = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["frame_start", "frame_end"],
        "additionalProperties": False,
        "properties": {"frame_start": {"type": "integer"}, "frame_end": {"type": "integer"}},
    },
}


def _datum(kind: str) -> Mapping[str, Any]:
    return {
        "type": "array",
        "items": {
            "type": "object",
            "required": ["val"],
            "properties": {"name": {"type": "string"}, "val": {"type": kind}},
        },
    }


def _elements(data: str) -> Mapping[str, Any]:
    held = {"boolean": _datum("boolean"), "num": _datum("number"), "text": _datum("string")}
    return {
        "type": "object",
        "additionalProperties": {
            "type": "object",
            "required": ["name", "type"],
            "properties": {
                "name": {"type": "string"},
                "type": {"type": "string"},
                "frame_intervals": _INTERVALS,
                data: {"type": "object", "properties": held},
            },
        },
    }


SHAPE: Final[Mapping[str, Any]] = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "required": ["openlabel"],
    "properties": {
        "openlabel": {
            "type": "object",
            "required": ["metadata"],
            "properties": {
                "metadata": {
                    "type": "object",
                    "required": ["schema_version"],
                    "properties": {"schema_version": {"const": "1.0.0"}, "annotator": {"type": "string"}},
                },
                "actions": _elements("action_data"),
                "events": _elements("event_data"),
                "contexts": _elements("context_data"),
                "frames": {
                    "type": "object",
                    "propertyNames": {"pattern": "^[0-9]{1,15}$"},
                    "additionalProperties": {
                        "type": "object",
                        "properties": {
                            "frame_properties": {
                                "type": "object",
                                "properties": {"timestamp": {"type": ["string", "number"]}},
                            }
                        },
                    },
                },
            },
        }
    },
}
