"""MCAP: the system of record for raw logs, read with native times kept to the nanosecond, written for Foxglove or ROS 2.

Source: https://mcap.dev/spec; the container, CDR and protobuf are decoded by the official ``mcap`` packages.
"""

from __future__ import annotations

from worldgate.data.logs._mcap_encode import ImageOptions
from worldgate.data.logs._mcap_write import McapWriter, write_log

__all__ = ["CARD", "ImageOptions", "McapWriter", "write_log"]

CARD = {
    "line": "MCAP with ROS 2 CDR, JSON or protobuf messages; the system of record for raw logs",
    "inputs": "a .mcap file, or a folder of them",
    "source": "https://mcap.dev/spec",
}
