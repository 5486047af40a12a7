"""A tiny writer of ULog files, byte by byte after https://docs.px4.io/main/en/dev_log/ulog_file_format.html."""

from __future__ import annotations

import struct
from typing import Any


class UlogFile:
    """Messages in the order they are added; :attr:`data` is the file."""

    def __init__(self, start_us: int = 1_000_000) -> None:
        self.data = b"ULog\x01\x12\x35\x01" + struct.pack("<Q", start_us)
        self.message("B", bytes(40))

    def message(self, kind: str, body: bytes) -> UlogFile:
        self.data += struct.pack("<HB", len(body), ord(kind)) + body
        return self

    def format(self, name: str, fields: str) -> UlogFile:
        """``fields`` as the format writes them: ``uint64_t timestamp;float[3] xyz;``."""
        return self.message("F", f"{name}:{fields}".encode())

    def info(self, key: str, text: str) -> UlogFile:
        name = f"char[{len(text)}] {key}".encode()
        return self.message("I", bytes([len(name)]) + name + text.encode())

    def parameter(self, name: str, value: float) -> UlogFile:
        kind, packed = ("int32_t", "<i") if isinstance(value, int) else ("float", "<f")
        key = f"{kind} {name}".encode()
        return self.message("P", bytes([len(key)]) + key + struct.pack(packed, value))

    def subscribe(self, number: int, name: str, instance: int = 0) -> UlogFile:
        return self.message("A", struct.pack("<BH", instance, number) + name.encode())

    def row(self, number: int, stamp_us: int, layout: str, *values: Any) -> UlogFile:
        """One data message: the stamp, then values by a struct layout."""
        return self.message("D", struct.pack("<HQ", number, stamp_us) + struct.pack(f"<{layout}", *values))

    def dropout(self, milliseconds: int) -> UlogFile:
        return self.message("O", struct.pack("<H", milliseconds))

    def text(self, stamp_us: int, text: str, level: str = "6") -> UlogFile:
        return self.message("L", level.encode() + struct.pack("<Q", stamp_us) + text.encode())

    def tagged(self, stamp_us: int, text: str, tag: int = 1, level: str = "4") -> UlogFile:
        return self.message("C", level.encode() + struct.pack("<HQ", tag, stamp_us) + text.encode())
