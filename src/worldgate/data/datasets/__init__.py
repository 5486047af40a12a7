"""Datasets: an immutable manifest of episodes, splits and evidence, named by its digest.

A manifest names logs and an alignment, never arrays: loading opens the logs from the store, verified, and aligns them
again, so what a model is trained on is what was recorded. Aligned numbers are cached under the episode's id; the cache
may be deleted at any time.
"""

from worldgate.data.datasets.comparison import DatasetDiff, diff
from worldgate.data.datasets.composition import merge, subset, where
from worldgate.data.datasets.loading import load
from worldgate.data.datasets.manifests import DatasetManifest, EpisodeEntry, StreamSchema, manifest, normaliser
from worldgate.data.datasets.snapshots import snapshot

__all__ = [
    "DatasetDiff",
    "DatasetManifest",
    "EpisodeEntry",
    "StreamSchema",
    "diff",
    "load",
    "manifest",
    "merge",
    "normaliser",
    "snapshot",
    "subset",
    "where",
]
