"""What reads a model's texts: a small encoder that learns with it, or a frozen one of the Hugging Face hub.

The frozen one is loaded by transformers from a local folder, or from the hub at a commit that is named in full; only
from safetensors, without running code that came with it, and with ``HF_HUB_OFFLINE`` respected. Each text is encoded
once in a run; what is learned is a projection of the result. A checkpoint names the encoder by name, revision and the
digest of its files, and refuses to load beside another one.

Shape legend: N texts, L word pieces, H width of the encoder, E width that the model reads.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from worldgate.core.choices import settle
from worldgate.core.digest import digest_file, digest_json
from worldgate.core.errors import MissingExtra, NotFound, UsageError, WeightsRefused
from worldgate.worlds.nn.streams import Words

_FILES = ("*.safetensors", "*.json", "*.txt", "*.model")
"""Weights, configuration and vocabularies: all that is read, and what the digest is of."""
_AT_ONCE = 32


class Encoder(StrEnum):
    """Who reads texts."""

    WORDS = "words"
    """A small one that learns with the model."""
    HF = "hf"
    """A frozen one, loaded by transformers."""


class Pooling(StrEnum):
    """What of a frozen encoder's answer stands for a whole text."""

    MEAN = "mean"
    """Over its word pieces, as for T5 and sentence encoders."""
    FIRST = "first"
    """The first, as BERT's."""
    LAST = "last"
    """The last, for decoders."""
    POOLER = "pooler"
    """The encoder's own, as CLIP's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextConfig:
    """Who reads a model's texts; the names below are for ``hf``."""

    encoder: Encoder = Encoder.WORDS
    name: str = ""
    """A folder, or a name on the hub such as ``openai/clip-vit-base-patch32``."""
    revision: str = ""
    """Commit on the hub, all 40 digits."""
    digest: str = ""
    """What the files' digest must begin with; empty: it is recorded and not asked for."""
    pooling: Pooling = Pooling.MEAN
    longest: int = 64
    """Word pieces of a text that are read."""

    def __post_init__(self) -> None:
        settle(self)


class TextReader(Protocol):
    """What turns texts into what a model reads; also an ``nn.Module`` with what is learned of it."""

    def inputs(self, texts: Sequence[str]) -> Tensor:
        """(N, ...) of N texts, without anything learned."""
        ...

    def __call__(self, inputs: Tensor) -> Tensor:
        """(N, E) of :meth:`inputs`."""
        ...


def reader(config: TextConfig, width: int) -> TextReader:
    """An untrained reader of texts.

    Args:
        config: which.
        width: E.

    Raises:
        MissingExtra: transformers is not installed.
        NotFound: no such encoder here, and none could be fetched.
        WeightsRefused: not safetensors, or not of the digest that was asked for.
        UsageError: a hub's name without its commit, or no name.
    """
    if (config.encoder is Encoder.HF) != bool(config.name):  # not in the config: options come one by one
        hint = "--set text.encoder=hf --set text.name=FOLDER"
        raise UsageError("a frozen text encoder has a name, and only it", got=config.name or "none", hint=hint)
    return Words(width) if config.encoder is Encoder.WORDS else Frozen(config, width)


class Frozen(nn.Module):
    """A text encoder that somebody else trained, and a learned projection of what it says."""

    def __init__(self, config: TextConfig, width: int) -> None:
        super().__init__()
        self.config, self.folder = config, find(config)
        self.digest = digest_of(self.folder)
        if not self.digest.startswith(config.digest):
            raise WeightsRefused("not the text encoder that was asked for", got=self.digest[:12], where=self.folder)
        self.width = int(_read(_upstream().AutoConfig, self.folder).get_text_config().hidden_size)
        self.project = nn.Sequential(nn.LayerNorm(self.width), nn.Linear(self.width, width))
        self.cache: dict[str, Tensor] = {}
        self._loaded: list[tuple[Any, Any]] = []

    def borrowed(self) -> dict[str, str]:
        """Which encoder it is."""
        name = self.config.name if self.config.revision else Path(self.config.name).name
        return {"text.name": name, "text.revision": self.config.revision, "text.digest": self.digest}

    def inputs(self, texts: Sequence[str]) -> Tensor:
        """(N, H); zero of an empty text."""
        new = sorted({text for text in texts if text} - set(self.cache))
        for first in range(0, len(new), _AT_ONCE):
            some = new[first : first + _AT_ONCE]
            self.cache |= dict(zip(some, self._encode(some), strict=True))
        nothing = torch.zeros(self.width)
        return torch.stack([self.cache[text] if text else nothing for text in texts])

    def forward(self, inputs_NH: Tensor) -> Tensor:
        """(N, E)."""
        out: Tensor = self.project(inputs_NH)
        return out

    @torch.no_grad()
    def _encode(self, texts: list[str]) -> Tensor:
        """(N, H) on the CPU."""
        if not self._loaded:
            self._loaded.append(_load(self.folder))
        pieces, model = self._loaded[0]
        held = pieces(texts, padding=True, truncation=True, max_length=self.config.longest, return_tensors="pt")
        said = model(input_ids=held["input_ids"], attention_mask=held["attention_mask"])
        return _pooled(said, held["attention_mask"], self.config.pooling).float()


def _pooled(said: Any, mask_NL: Tensor, pooling: Pooling) -> Tensor:
    if pooling is Pooling.POOLER:
        if getattr(said, "pooler_output", None) is None:
            raise UsageError("this text encoder pools nothing by itself", got="pooler", hint="--set text.pooling=mean")
        return cast(Tensor, said.pooler_output)
    hidden_NLH, mask = cast(Tensor, said.last_hidden_state), mask_NL.bool()
    if pooling is Pooling.MEAN:
        return (hidden_NLH * mask.unsqueeze(-1)).sum(dim=1) / mask.sum(dim=1, keepdim=True)
    places = torch.arange(mask.shape[1])
    at = torch.where(mask, places, -1).amax(dim=1) if pooling is Pooling.LAST else mask.int().argmax(dim=1)
    return hidden_NLH[torch.arange(len(at)), at]


def find(config: TextConfig) -> Path:
    """The folder of an encoder's files; those of the hub are fetched unless they are there.

    Raises:
        MissingExtra: transformers is not installed.
        NotFound: neither a folder nor on the hub at this commit, or not reachable.
        UsageError: a hub's name without its commit.
        WeightsRefused: no safetensors there.
    """
    folder = Path(config.name).expanduser()
    if not folder.is_dir():
        folder = _fetch(config)
    if not list(folder.glob("*.safetensors")):
        raise WeightsRefused("weights are read from safetensors alone", got="none", where=folder)
    return folder


def _fetch(config: TextConfig) -> Path:
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", config.name):
        raise NotFound("no such folder", got=config.name, hint="a folder with config.json, or a name on the hub")
    if not re.fullmatch(r"[0-9a-f]{40}", config.revision):
        hint = "--set text.revision= all 40 digits of the commit"
        raise UsageError("an encoder of the hub is named with its commit", got=config.revision or "none", hint=hint)
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    try:
        return Path(snapshot_download(config.name, revision=config.revision, allow_patterns=list(_FILES)))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        where, hint = f"{config.name}@{config.revision[:12]}", "give a local folder, or check HF_HUB_OFFLINE"
        raise NotFound("no such text encoder", got=str(error).split("\n")[0][:80], where=where, hint=hint) from error


def digest_of(folder: Path) -> str:
    """Of all that is read of an encoder: names and contents of its files."""
    files = sorted({file for pattern in _FILES for file in folder.glob(pattern)})
    marks = tuple((file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files)
    return _digest(folder.resolve(), marks)


@cache
def _digest(folder: Path, marks: tuple[tuple[str, int, int], ...]) -> str:
    return digest_json({name: digest_file(folder / name) for name, _, _ in marks})


def _load(folder: Path) -> tuple[Any, Any]:
    """Tokenizer and encoder, frozen."""
    upstream = _upstream()
    pieces, about = _read(upstream.AutoTokenizer, folder), _read(upstream.AutoConfig, folder)
    known = type(about) in upstream.MODEL_FOR_TEXT_ENCODING_MAPPING
    kind = upstream.AutoModelForTextEncoding if known else upstream.AutoModel
    model = _read(kind, folder, use_safetensors=True, dtype=torch.float32)
    if about.is_encoder_decoder and not known:
        model = model.get_encoder()
    return pieces, getattr(model, "text_model", model).eval().requires_grad_(False)


def _read(kind: Any, folder: Path, **options: Any) -> Any:
    """What one of upstream's classes makes of a folder, with nothing fetched and no code of it run."""
    try:
        return kind.from_pretrained(folder, local_files_only=True, trust_remote_code=False, **options)
    except (OSError, ValueError, KeyError) as error:
        raise WeightsRefused("not a text encoder", got=str(error).split("\n")[0][:80], where=folder) from error


def _upstream() -> Any:
    try:
        import transformers
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    return transformers


def _missing(error: ModuleNotFoundError) -> MissingExtra:
    hint = 'pip install "worldgate[hf]"'
    return MissingExtra("a text encoder of the hub needs a package that is not installed", got=error.name, hint=hint)
