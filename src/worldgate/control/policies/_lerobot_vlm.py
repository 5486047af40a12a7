"""What SmolVLA and pi0 share: an eye of SigLIP's form, decoders of Llama's and Gemma's, the way from noise to actions.

Source: lerobot's policies ``smolvla``, ``pi0`` and ``pi05`` (Apache-2.0), version 0.6.1, on transformers 5.5; SigLIP
2303.15343, PaliGemma 2407.07726, pi0 2410.24164, SmolVLA 2506.01844 on arXiv. Tensors are named as there; what only
serves to learn is left out. Notable choices: everything is computed in float32, whatever the file keeps; what lerobot
pads and masks is left out, which gives the same numbers; keys and values of what is seen serve all steps.

Shape legend: B batch, N tokens seen, K actions of a chunk, A action channels (padded), W width, H heads, D channels of
a head, C channels of a patch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from worldgate.core.errors import WeightsRefused

Shapes = Mapping[str, tuple[int, ...]]
"""Name of a tensor -> its shape: sizes that a folder's configuration leaves to the weights."""
Kept = tuple[Tensor, Tensor]
"""Keys and values of a layer, (B, N, H, D) each."""
STATE, WORDS = "observation.state", "words"
"""What a policy is shown beside pictures: (B, D) numbers, (1, N) tokens of the instruction."""
_WAVELENGTH, _EPS = 10_000, 1e-6


def size(shapes: Shapes, name: str, axis: int = 0) -> int:
    """Extent of a tensor that must be there.

    Raises:
        WeightsRefused: it is not, or has no such axis.
    """
    if len(shapes.get(name, ())) <= axis:
        raise WeightsRefused("a tensor is missing", got=name, where="model.safetensors")
    return shapes[name][axis]


def depth(shapes: Shapes, prefix: str) -> int:
    """How many numbered parts follow a prefix that ends with a dot.

    Raises:
        WeightsRefused: none.
    """
    found = {name[len(prefix) :].partition(".")[0] for name in shapes if name.startswith(prefix)}
    if not found or not all(number.isdecimal() for number in found):
        raise WeightsRefused("a tensor is missing", got=f"{prefix}0", where="model.safetensors")
    return 1 + max(int(number) for number in found)


def place(root: nn.Module, path: str, part: nn.Module) -> None:
    """Put a part at a dotted path, so that its tensors are named as in the file."""
    *way, last = path.split(".")
    for name in way:
        if not hasattr(root, name):
            root.add_module(name, nn.Module())
        root = root.get_submodule(name)
    root.add_module(last, part)


# The eye.


class _EyeLayer(nn.Module):
    def __init__(self, width: int, inner: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.self_attn = nn.Module()
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            self.self_attn.add_module(name, nn.Linear(width, width))
        self.layer_norm1, self.layer_norm2 = (nn.LayerNorm(width, eps=_EPS) for _ in range(2))
        self.mlp = nn.Module()
        place(self.mlp, "fc1", nn.Linear(width, inner))
        place(self.mlp, "fc2", nn.Linear(inner, width))

    def forward(self, x_BNC: Tensor) -> Tensor:
        seen = self.layer_norm1(x_BNC)
        parts = (self.self_attn.get_submodule(name)(seen) for name in ("q_proj", "k_proj", "v_proj"))
        asked, known, told = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        joined = functional.scaled_dot_product_attention(asked, known, told).transpose(1, 2).flatten(2)
        x_BNC = x_BNC + self.self_attn.get_submodule("out_proj")(joined)
        inner = functional.gelu(self.mlp.get_submodule("fc1")(self.layer_norm2(x_BNC)), approximate="tanh")
        out: Tensor = x_BNC + self.mlp.get_submodule("fc2")(inner)
        return out


class Eye(nn.Module):
    """SigLIP's vision transformer without its pooling.

    Args:
        shapes: of the file's tensors.
        prefix: of this part's names among them, with its dot.
        heads: of its attention.
    """

    def __init__(self, shapes: Shapes, prefix: str, heads: int) -> None:
        super().__init__()
        patches, layers = f"{prefix}embeddings.patch_embedding.weight", f"{prefix}encoder.layers."
        self.width, self.patch = size(shapes, patches), size(shapes, patches, 2)
        places = size(shapes, f"{prefix}embeddings.position_embedding.weight")
        inner = size(shapes, f"{layers}0.mlp.fc1.weight")
        if self.width % heads:
            raise WeightsRefused("heads that do not divide a width", got=f"{heads} of {self.width}", where=prefix)
        self.side = math.isqrt(places)
        self.embeddings = nn.Module()
        place(self.embeddings, "patch_embedding", nn.Conv2d(3, self.width, self.patch, stride=self.patch))
        place(self.embeddings, "position_embedding", nn.Embedding(places, self.width))
        self.encoder = nn.Module()
        stack = nn.ModuleList(_EyeLayer(self.width, inner, heads) for _ in range(depth(shapes, layers)))
        place(self.encoder, "layers", stack)
        self.post_layernorm = nn.LayerNorm(self.width, eps=_EPS)

    def forward(self, x_B3HW: Tensor) -> Tensor:
        """(B, N, C) of pictures from -1 to 1, patch by patch."""
        map_BCHW = self.embeddings.get_submodule("patch_embedding")(x_B3HW)
        rows, columns = (self._places(count) for count in map_BCHW.shape[2:])
        where_N = (rows[:, None] * self.side + columns).flatten()
        x = map_BCHW.flatten(2).transpose(1, 2) + self.embeddings.get_submodule("position_embedding")(where_N)
        stack = self.encoder.get_submodule("layers")
        assert isinstance(stack, nn.ModuleList)
        for layer in stack:
            x = layer(x)
        out: Tensor = self.post_layernorm(x)
        return out

    def _places(self, count: int) -> Tensor:
        """Where so many patches lie on a grid that was learned with so many a side."""
        share = (torch.arange(count, dtype=torch.float32) * (1.0 / torch.tensor(count))).clamp(max=1 - 1e-6)
        return torch.bucketize(share, torch.arange(1 / self.side, 1.0, 1 / self.side), right=True)


# Decoders.


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What sets Llama's decoder apart from Gemma's."""

    heads: int
    shared: int
    """Heads of keys and values, each of which serves ``heads / shared`` of the others."""
    head: int
    """Channels of a head."""
    eps: float
    one: float
    """What is added to a norm's weights: 1 in Gemma's, 0 in Llama's."""
    act: Callable[[Tensor], Tensor]


def gelu(x: Tensor) -> Tensor:
    """As Gemma has it, by tanh."""
    return functional.gelu(x, approximate="tanh")


class Norm(nn.Module):
    """Root mean square; told something, it is scaled, shifted and gated by that."""

    def __init__(self, width: int, form: Form, told: int) -> None:
        super().__init__()
        self.eps, self.one = form.eps, form.one
        if told:
            self.dense = nn.Linear(told, 3 * width)
        else:
            self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x_BNW: Tensor, told_BW: Tensor | None) -> tuple[Tensor, Tensor | float]:
        """What goes in, and the share of what comes out of it that counts."""
        x = x_BNW * torch.rsqrt(x_BNW.square().mean(-1, keepdim=True) + self.eps)
        if told_BW is None:
            return x * (self.one + self.weight), 1.0
        scale, shift, gate = self.dense(told_BW)[:, None].chunk(3, dim=-1)
        return x * (1 + scale) + shift, gate


class _Layer(nn.Module):
    """One layer; one that looks across makes its keys and values of those that another stack kept."""

    def __init__(self, width: int, inner: int, form: Form, told: int, across: bool) -> None:
        super().__init__()
        self.form, own = form, form.shared * form.head
        source = own if across else width
        self.self_attn = nn.Module()
        place(self.self_attn, "q_proj", nn.Linear(width, form.heads * form.head, bias=False))
        place(self.self_attn, "k_proj", nn.Linear(source, own, bias=False))
        place(self.self_attn, "v_proj", nn.Linear(source, own, bias=False))
        place(self.self_attn, "o_proj", nn.Linear(form.heads * form.head, width, bias=False))
        self.mlp = nn.Module()
        place(self.mlp, "gate_proj", nn.Linear(width, inner, bias=False))
        place(self.mlp, "up_proj", nn.Linear(width, inner, bias=False))
        place(self.mlp, "down_proj", nn.Linear(inner, width, bias=False))
        self.input_layernorm, self.post_attention_layernorm = (Norm(width, form, told) for _ in range(2))

    def split(self, name: str, x_BNW: Tensor) -> Tensor:
        """(B, N, H, D) queries, keys or values."""
        out: Tensor = self.self_attn.get_submodule(name)(x_BNW).unflatten(-1, (-1, self.form.head))
        return out

    def attend(self, asked: Tensor, known: Tensor, told: Tensor, mask: Tensor | None) -> Tensor:
        """(B, N, W); ``mask`` says what may be looked at, (N, all)."""
        asked, known, told = (part.transpose(1, 2) for part in (asked, known, told))
        joined = functional.scaled_dot_product_attention(asked, known, told, attn_mask=mask, enable_gqa=True)
        out: Tensor = self.self_attn.get_submodule("o_proj")(joined.transpose(1, 2).flatten(2))
        return out

    def finish(self, x_BNW: Tensor, told_BW: Tensor | None) -> Tensor:
        """After attention: the gated feed-forward part beside its short cut."""
        x, gate = self.post_attention_layernorm(x_BNW, told_BW)
        opened = self.form.act(self.mlp.get_submodule("gate_proj")(x)) * self.mlp.get_submodule("up_proj")(x)
        out: Tensor = x_BNW + gate * self.mlp.get_submodule("down_proj")(opened)
        return out


class Decoder(nn.Module):
    """A stack of layers, used twice: over what is seen, and over actions that look at what that left.

    Args:
        shapes: of the file's tensors.
        prefix: of this part's names among them, with its dot.
        width: of a token.
        form: Llama's or Gemma's.
        words: size of the vocabulary; 0: without an embedding.
        told: width of what its norms are told; 0: nothing.
        across: numbers of the layers that look only across, at keys and values that another stack kept.
    """

    def __init__(
        self,
        shapes: Shapes,
        prefix: str,
        width: int,
        form: Form,
        *,
        words: int = 0,
        told: int = 0,
        across: frozenset[int] = frozenset(),
    ) -> None:
        super().__init__()
        inner = size(shapes, f"{prefix}layers.0.mlp.gate_proj.weight")
        count = depth(shapes, f"{prefix}layers.")
        if words:
            self.embed_tokens = nn.Embedding(words, width)
        self.layers = nn.ModuleList(_Layer(width, inner, form, told, n in across) for n in range(count))
        self._across = across
        if not words:  # over what is seen, the last norm is never reached
            self.norm = Norm(width, form, told)

    def keep(self, x_BNW: Tensor, mask_NN: Tensor | None) -> list[Kept]:
        """Keys and values of every layer, turned by place; ``mask_NN`` says who may look at whom."""
        kept: list[Kept] = []
        places = torch.arange(x_BNW.shape[1])
        for layer in self.layers:
            assert isinstance(layer, _Layer)
            seen, _ = layer.input_layernorm(x_BNW, None)
            known, told = _turned(layer.split("k_proj", seen), places), layer.split("v_proj", seen)
            kept.append((known, told))
            if len(kept) == len(self.layers):
                break  # nobody looks at what this one would say
            asked = _turned(layer.split("q_proj", seen), places)
            x_BNW = layer.finish(x_BNW + layer.attend(asked, known, told, mask_NN), None)
        return kept

    def follow(
        self, x_BKW: Tensor, kept: Sequence[Kept], mask_KK: Tensor | None, told_BW: Tensor | None = None
    ) -> Tensor:
        """(B, K, W) of tokens that see all that was kept, and each other as ``mask_KK`` says; None: each each."""
        seen, count = kept[0][0].shape[1], x_BKW.shape[1]
        places = torch.arange(count)
        mask = None if mask_KK is None else torch.cat([torch.ones(count, seen, dtype=torch.bool), mask_KK], dim=1)
        for number, (layer, (known, told)) in enumerate(zip(self.layers, kept, strict=True)):
            assert isinstance(layer, _Layer)
            x, gate = layer.input_layernorm(x_BKW, told_BW)
            if number in self._across:
                known, told = (layer.split(n, t.flatten(2)) for n, t in (("k_proj", known), ("v_proj", told)))
                joined = layer.attend(_turned(layer.split("q_proj", x), places), known, told, None)
            else:
                known = torch.cat([known, _turned(layer.split("k_proj", x), places + seen)], dim=1)
                told = torch.cat([told, layer.split("v_proj", x)], dim=1)
                joined = layer.attend(_turned(layer.split("q_proj", x), places + seen), known, told, mask)
            x_BKW = layer.finish(x_BKW + gate * joined, told_BW)
        out: Tensor = self.norm(x_BKW, told_BW)[0]
        return out


def _turned(x_BNHD: Tensor, places_N: Tensor) -> Tensor:
    """Rotary places: the first half of each head's channels is paired with the second."""
    half = x_BNHD.shape[-1] // 2
    pitch = _WAVELENGTH ** (torch.arange(half, dtype=torch.float32) / half)
    angle = (places_N[:, None].float() / pitch)[:, None]
    first, second = x_BNHD.tensor_split(2, dim=-1)
    sin, cos = angle.sin(), angle.cos()
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The large parts of a policy; the same modules lie in its tree at the places that name their tensors."""

    eye: Eye
    join: nn.Linear
    """From the eye's width to the language model's."""
    text: Decoder
    expert: Decoder

    @property
    def all(self) -> tuple[nn.Module, ...]:
        """In the order of the fields."""
        return self.eye, self.join, self.text, self.expert


# The way from noise to actions.


def waves(time: float, width: int, least: float, most: float) -> Tensor:
    """(1, W) sines, then cosines of a time, by periods from ``least`` to ``most``."""
    period = least * (most / least) ** torch.linspace(0, 1, width // 2, dtype=torch.float64)
    angle = 2 * math.pi / period * torch.tensor(time, dtype=torch.float32)
    return torch.cat([angle.sin(), angle.cos()])[None].float()


def carry(noise_BKA: Tensor, steps: int, speed: Callable[[Tensor, float], Tensor]) -> Tensor:
    """From noise at time 1 to actions at time 0 in Euler's steps."""
    x = noise_BKA
    for step in range(steps):
        x = x - speed(x, 1 - step / steps) / steps
    return x


def padded(x_BD: Tensor, width: int) -> Tensor:
    """(B, width): zeros behind."""
    return functional.pad(x_BD, (0, width - x_BD.shape[-1]))


def boxed(x_B3HW: Tensor, height: int, width: int, *, middle: bool) -> Tensor:
    """Pictures from 0 to 1 scaled into a box, not stretched, black around them or above and left; from -1 to 1."""
    ratio = max(x_B3HW.shape[3] / width, x_B3HW.shape[2] / height)
    if x_B3HW.shape[2:] != (height, width):
        inner = (int(x_B3HW.shape[2] / ratio), int(x_B3HW.shape[3] / ratio))
        x_B3HW = functional.interpolate(x_B3HW, inner, mode="bilinear", align_corners=False)
    if middle:
        x_B3HW = x_B3HW.clamp(0, 1)
    below, right = height - x_B3HW.shape[2], width - x_B3HW.shape[3]
    above, left = (below // 2, right // 2) if middle else (below, right)
    return functional.pad(x_B3HW, (left, right - left, above, below - above)) * 2 - 1
