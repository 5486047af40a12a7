"""What a folder of token sequences holds: names of its files, columns of its shards."""

from __future__ import annotations

import pyarrow as pa

SCHEMA, VERSION = "worldgate.tokens", 1
VOCABULARY, CONTENTS = "vocabulary.json", "tokens.json"
MARK = b"worldgate.vocabulary"
"""Key of a shard's metadata that holds the digest of its vocabulary."""

COLUMNS = pa.schema(
    [
        ("episode", pa.string()),
        ("log", pa.string()),
        ("name", pa.string()),
        ("split", pa.string()),
        ("origin", pa.string()),
        ("first_row", pa.int64()),
        ("rows", pa.int64()),
        ("first_ns", pa.int64()),
        ("last_ns", pa.int64()),
        ("place", pa.int32()),
        ("place_known", pa.bool_()),
        ("text", pa.string()),
        ("tokens", pa.list_(pa.int32())),
    ]
)
