"""The frame around every tokenizer of this seam: cameras, modalities, contexts and time; a core is put into it.

Cameras of one kind share a core, told apart by an embedding. A picture is encoded against a context, where one is
wanted: the site's empty scene, or the clip's first frame; the decoder then paints over it, so that bits go to what
differs.

Shape legend: N clips, T frames, Z latents in time, P places, C channels, S pixels a side, I channels of a field,
O of answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from worldgate.core.choices import settle
from worldgate.core.errors import UsageError
from worldgate.core.streams import Kind
from worldgate.core.worlds import Signal
from worldgate.worlds.nn.autoencoders import STRIDE, Core
from worldgate.worlds.nn.causal import Shrink, Stretch, latents_of
from worldgate.worlds.tokenizers._modalities import Modality, modality_of

_OPEN = 0.05
"""Least share of what is painted over a context."""


class Context(StrEnum):
    """What a picture is encoded against."""

    NONE = "none"
    FIRST = "first"
    """The first frame of its clip: whoever decodes must know it."""
    BACKGROUND = "background"
    """The empty scene of its site; for cameras that stand still."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoConfig:
    """What all tokenizers share."""

    context: Context = Context.NONE
    time: int = 0
    """Frames a latent holds, causally: 1 or 4; 0: every frame for itself."""
    classes: int = 16
    """Most classes of a segmentation stream."""

    def __post_init__(self) -> None:
        settle(self)


class Bottleneck(Protocol):
    """One of :mod:`worldgate.worlds.nn.bottlenecks`."""

    inputs: int
    channels: int

    def __call__(self, raw: Tensor) -> tuple[Tensor, Tensor]: ...


MakeCore = Callable[[int, int, int, int], Core]
"""From channels that enter, channels that leave, cameras and pixels a side."""


class Part(nn.Module):
    """The tokenizer of one kind of picture."""

    def __init__(
        self, modality: Modality, config: VideoConfig, make: MakeCore, squeeze: Bottleneck, views: int, size: int
    ) -> None:
        super().__init__()
        self.against = config.context is not Context.NONE
        self.modality = cast(nn.Module, modality)
        core = make(modality.enters * (1 + self.against), modality.leaves + self.against, views, size)
        self.core, self.squeeze = cast(nn.Module, core), cast(nn.Module, squeeze)
        self.inner = nn.Linear(core.width, squeeze.inputs)
        self.outer = nn.Linear(squeeze.channels, core.width)
        self.shrink = Shrink(core.width, config.time) if config.time else None
        self.stretch = Stretch(core.width, config.time) if config.time else None
        self.places, self.channels = core.places, squeeze.channels

    @property
    def looks(self) -> Modality:
        """Its kind of picture."""
        return cast(Modality, self.modality)

    def encode(self, field_NTISS: Tensor, against_NISS: Tensor | None, view_N: Tensor) -> tuple[Tensor, Tensor]:
        """Values (N, Z, P, C), and the bottleneck's loss."""
        frames = field_NTISS.shape[1]
        if against_NISS is not None:
            field_NTISS = torch.cat([field_NTISS, field_NTISS - against_NISS.unsqueeze(1)], dim=2)
        core = cast(Core, self.core)
        hidden = core.encode(field_NTISS.flatten(0, 1), view_N.repeat_interleave(frames))
        hidden = torch.unflatten(hidden, 0, (-1, frames))
        if self.shrink is not None:
            hidden = self.shrink(hidden)
        values, loss = self.squeeze(self.inner(hidden))
        return values, loss

    def decode(self, values_NZPC: Tensor, against_NISS: Tensor | None, view_N: Tensor) -> Tensor:
        """Answers (N, T, O, S, S), painted over the context."""
        hidden = self.outer(values_NZPC)
        if self.stretch is not None:
            hidden = self.stretch(hidden)
        frames = hidden.shape[1]
        core = cast(Core, self.core)
        answers = core.decode(hidden.flatten(0, 1), view_N.repeat_interleave(frames))
        answers = torch.unflatten(answers, 0, (-1, frames))
        if against_NISS is None:
            return answers
        known_N1OSS = self.looks.known(against_NISS).unsqueeze(1)
        # A mask that may close passes no gradient once it has, and training stays at the context itself.
        mask = _OPEN + (1 - _OPEN) * torch.sigmoid(answers[:, :, -1:] - 1)
        return known_N1OSS + mask * (answers[:, :, :-1] - known_N1OSS)


class VideoTokenizer(nn.Module):
    """Pictures of all cameras to values and back."""

    def __init__(
        self, config: VideoConfig, cameras: Sequence[Signal], make: MakeCore, squeeze: Callable[[], Bottleneck]
    ) -> None:
        super().__init__()
        if not cameras:
            raise UsageError("a tokenizer needs a camera", hint="--set 'inputs.cameras=[\"observation.images.front\"]'")
        size = cameras[0].shape[0]
        if size % STRIDE:
            raise UsageError("pictures whose side does not divide by 8", got=size, hint="--set inputs.size=64")
        if config.time not in (0, 1, 4):
            raise UsageError("a latent holds 1 or 4 frames, or pictures stand alone", got=config.time, hint="0, 1, 4")
        self.config, self.cameras, self.size = config, tuple(c.name for c in cameras), size
        self.kinds: dict[str, list[str]] = {}
        for camera in cameras:
            self.kinds.setdefault(camera.kind.value, []).append(camera.name)
        self.parts = nn.ModuleDict()
        for kind, names in self.kinds.items():
            modality = modality_of(Kind(kind), config.classes)
            self.parts[kind] = Part(modality, config, make, squeeze(), len(names), size)

    @property
    def crops(self) -> bool:
        """Whether it also works on parts of pictures."""
        return all(cast(Core, cast(Part, part).core).crops for part in self.parts.values())

    def part(self, camera: str) -> Part:
        """Of a camera."""
        kind = next(kind for kind, names in self.kinds.items() if camera in names)
        return cast(Part, self.parts[kind])

    def kind(self, camera: str) -> Kind:
        """What a camera's pictures are."""
        return next(Kind(kind) for kind, names in self.kinds.items() if camera in names)

    def latents(self, frames: int) -> int:
        """Latents in time of so many frames."""
        return latents_of(frames, self.config.time) if self.config.time else frames

    @torch.no_grad()
    def fit(self, frames: Callable[[str], Iterable[Tensor]]) -> None:
        """Learn ranges and classes from raw training pictures: of a camera, (R, S, S, ...) at a time."""
        for kind, names in self.kinds.items():
            cast(Part, self.parts[kind]).looks.fit(part for name in names for part in frames(name))

    def encode(self, frames: Mapping[str, Tensor], against: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
        """Raw clips to values.

        Args:
            frames: camera -> (N, T, S, S, ...), all cameras or some.
            against: camera -> (N, S, S, ...) raw contexts, where the tokenizer wants them.

        Returns:
            camera -> (N, Z, P, C).
        """
        out = {}
        for camera, raw in frames.items():
            part, view = self._of(camera, raw)
            part.looks.check(raw)
            field = torch.unflatten(part.looks.field(raw.flatten(0, 1)), 0, raw.shape[:2])
            out[camera], _ = part.encode(field, self._field(part, camera, against), view)
        return out

    def decode(self, values: Mapping[str, Tensor], against: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
        """Values (N, Z, P, C) back to raw clips (N, T, S, S, ...)."""
        out = {}
        for camera, held in values.items():
            part, view = self._of(camera, held)
            answers = part.decode(held, self._field(part, camera, against), view)
            out[camera] = torch.unflatten(part.looks.raw(answers.flatten(0, 1)), 0, answers.shape[:2])
        return out

    def loss(self, frames: Mapping[str, Tensor], against: Mapping[str, Tensor] | None) -> Tensor:
        """Mean over cameras of the pixels' losses and the bottleneck's."""
        losses = []
        for camera, raw in frames.items():
            part, view = self._of(camera, raw)
            field, known = part.looks.field(raw.flatten(0, 1)), self._field(part, camera, against)
            values, squeezed = part.encode(torch.unflatten(field, 0, raw.shape[:2]), known, view)
            answers = part.decode(values, known, view)
            losses.append(squeezed + part.looks.loss(answers.flatten(0, 1), field).mean())
        return torch.stack(losses).mean()

    def _of(self, camera: str, held: Tensor) -> tuple[Part, Tensor]:
        names = next(names for names in self.kinds.values() if camera in names)
        return self.part(camera), torch.full((len(held),), names.index(camera), device=held.device)

    def _field(self, part: Part, camera: str, against: Mapping[str, Tensor] | None) -> Tensor | None:
        if not part.against:
            return None
        if against is None or camera not in against:
            hint = "a background, or the first frame of the clip"
            raise UsageError(f"this tokenizer needs its {self.config.context} context", got=camera, hint=hint)
        return part.looks.field(against[camera])
