"""The clip loader: random clips of many cameras, with states, actions and a receipt for every sample."""

from worldgate.data.loader.batches import RECEIPT, Batch, Clip
from worldgate.data.loader.clips import ClipConfig, ClipLoader, LoaderState
from worldgate.data.loader.receipts import Proof, ReceiptTable, prove

__all__ = ["RECEIPT", "Batch", "Clip", "ClipConfig", "ClipLoader", "LoaderState", "Proof", "ReceiptTable", "prove"]
