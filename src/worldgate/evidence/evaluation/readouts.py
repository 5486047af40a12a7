"""Read-outs fitted on real data: from features to numbers by ridge regression, from pictures to the object's place.

A read-out's own error on real held-out frames stands beside every figure taken with it (contender ``real``): a model
cannot be said to be worse than that. Ridge regression works on standardised inputs, products of few ones, and fixed
random cosines of them (random Fourier features), with the penalty chosen on a fifth of the episodes; nothing is
learned by gradient.

Sources: Hoerl and Kennard, Technometrics 12 (1970); Rahimi and Recht, NIPS 2007 (random features). The object's mask
comes from a table, P(object | colour) or P(object | height), by Bayes' rule on real class ids (Jones and Rehg, IJCV
46, 2002).

Shape legend: N rows, F inputs, G outputs, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from worldgate.core.streams import Array, BoolArray, FloatArray, Kind
from worldgate.evidence.evaluation.measures import NotMeasured
from worldgate.evidence.evaluation.references import References
from worldgate.evidence.evaluation.truth import CLASS_IDS, OBJECT, PICTURE, Truth

MOST_ROWS = 6000
COSINES = 192
MOST_PAIRED = 32
"""Inputs up to which their products are taken: what rests on a distance is a product of places."""
PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0, 1000.0)
_LEAST_ROWS = 30


@dataclass(frozen=True, slots=True)
class Readout:
    """A fitted map (N, F) -> (N, G)."""

    mean_F: FloatArray
    std_F: FloatArray
    turn_FC: FloatArray
    phase_C: FloatArray
    weights_PG: FloatArray
    offset_G: FloatArray

    def __call__(self, inputs_NF: FloatArray) -> FloatArray:
        """Predict; inputs beyond six deviations are held there, so that a rollout that exploded stays readable."""
        unit = np.clip((np.asarray(inputs_NF, np.float64) - self.mean_F) / self.std_F, -6.0, 6.0)
        return np.asarray(_lift(unit, self.turn_FC, self.phase_C) @ self.weights_PG + self.offset_G)


def _lift(unit_NF: FloatArray, turn_FC: FloatArray, phase_C: FloatArray) -> FloatArray:
    parts = [unit_NF, np.cos(unit_NF @ turn_FC + phase_C) * np.sqrt(2.0)]
    if unit_NF.shape[1] <= MOST_PAIRED:
        one, two = np.triu_indices(unit_NF.shape[1])
        parts.append(unit_NF[:, one] * unit_NF[:, two])
    return np.concatenate(parts, axis=1)


def fit_readout(inputs: Sequence[FloatArray], outputs: Sequence[FloatArray], *, seed: int = 0) -> Readout:
    """Fit on episodes: one (T, F) and one (T, G) array each; rows that are not finite are left out.

    Raises:
        NotMeasured: too few rows or episodes.
    """
    rows = [np.isfinite(x).all(axis=1) & np.isfinite(y).all(axis=1) for x, y in zip(inputs, outputs, strict=True)]
    if sum(int(r.sum()) for r in rows) < _LEAST_ROWS or sum(bool(r.any()) for r in rows) < 2:
        raise NotMeasured("a read-out needs at least 30 real rows from two training episodes")
    stride = max(1, round(sum(int(r.sum()) for r in rows) / MOST_ROWS))
    x = np.concatenate([a[r][::stride] for a, r in zip(inputs, rows, strict=True)]).astype(np.float64)
    y = np.concatenate([a[r][::stride] for a, r in zip(outputs, rows, strict=True)]).astype(np.float64)
    group = np.concatenate([np.full(len(a[r][::stride]), i) for i, (a, r) in enumerate(zip(inputs, rows, strict=True))])
    mean, std = x.mean(axis=0), x.std(axis=0)
    std = np.where(std > 1e-9 * np.maximum(np.abs(mean), 1.0), std, 1.0)
    draw = np.random.default_rng(seed)
    turn = draw.normal(0.0, 1.0 / np.sqrt(2.0 * x.shape[1]), (x.shape[1], COSINES))
    phase = draw.uniform(0.0, 2.0 * np.pi, COSINES)
    lifted = _lift(np.clip((x - mean) / std, -6.0, 6.0), turn, phase)
    held = np.isin(group, np.unique(group)[:: max(2, len(np.unique(group)) // 5)])
    errors = [_error(_ridge(lifted[~held], y[~held], p), lifted[held], y[held]) for p in PENALTIES]
    weights, offset = _ridge(lifted, y, PENALTIES[int(np.argmin(errors))])
    return Readout(mean, std, turn, phase, weights, offset)


def _ridge(x_NP: FloatArray, y_NG: FloatArray, penalty: float) -> tuple[FloatArray, FloatArray]:
    centre, middle = x_NP.mean(axis=0), y_NG.mean(axis=0)
    x = x_NP - centre
    gram = x.T @ x
    gram[np.diag_indices_from(gram)] += penalty * len(x) * 1e-2
    weights = np.linalg.solve(gram, x.T @ (y_NG - middle))
    return weights, middle - centre @ weights


def _error(fitted: tuple[FloatArray, FloatArray], x: FloatArray, y: FloatArray) -> float:
    scale = np.maximum(y.std(axis=0), 1e-12)
    return float((((x @ fitted[0] + fitted[1] - y) / scale) ** 2).mean())


def shrink(frames_NHWC: Array, side: int) -> FloatArray:
    """(N, side, side, C) area means of pictures, floats; grey and depth pictures get one channel."""
    frames = frames_NHWC if frames_NHWC.ndim == 4 else frames_NHWC[..., None]
    out = [cv2.resize(np.asarray(f, np.float32), (side, side), interpolation=cv2.INTER_AREA) for f in frames]
    return np.asarray(np.stack(out).reshape(len(frames), side, side, -1), np.float64)


@dataclass(frozen=True, slots=True)
class Components:
    """Pictures as their principal components over real ones: pixels that never change say nothing, and cannot mislead.

    Source: Turk and Pentland, Journal of Cognitive Neuroscience 3 (1991).
    """

    side: int
    mean_P: FloatArray
    basis_PF: FloatArray
    limit_F: FloatArray

    def __call__(self, frames_NHWC: Array) -> FloatArray:
        """(N, F), in deviations of the strongest component; held at twice what real pictures reach."""
        small = shrink(frames_NHWC, self.side).reshape(len(frames_NHWC), -1)
        return np.asarray(np.clip((small - self.mean_P) @ self.basis_PF, -self.limit_F, self.limit_F))


COMPONENTS, PICTURES = 40, 1500


def fit_components(references: References, camera: str, side: int = 16) -> Components:
    """Over the real pictures of one camera."""
    parts = []
    for tracks in references.tracks:
        rows = references.rows(tracks, 0, PICTURES)
        if len(rows):
            parts.append(shrink(tracks.frames[camera][rows], side).reshape(len(rows), -1))
    if not parts:
        raise NotMeasured("the training episodes hold no row without a gap")
    small = np.concatenate(parts)
    mean = small.mean(axis=0)
    _, strength, basis = np.linalg.svd(small - mean, full_matrices=False)
    kept = basis[: min(COMPONENTS, int((strength > 1e-6 * max(float(strength[0]), 1e-12)).sum()) or 1)].T
    kept = kept / max(float(((small - mean) @ kept[:, 0]).std()), 1e-9)
    return Components(side, mean, kept, 2.0 * np.abs((small - mean) @ kept).max(axis=0) + 1e-6)


class Pooled:
    """The features that need no weights: pictures pooled to 8 x 8, turned by a fixed random projection to 48 numbers.

    They keep distances (Johnson and Lindenstrauss, 1984) of coarse colour and place; they see no fine texture.
    """

    name = "pooled 8 x 8, random projection to 48 (seed 0)"

    def __init__(self, side: int = 8, width: int = 48) -> None:
        self.side, self.width = side, width

    def __call__(self, frames_NHWC: Array) -> FloatArray:
        small = shrink(frames_NHWC, self.side).reshape(len(frames_NHWC), -1)
        turn = np.random.default_rng(0).normal(0.0, 1.0 / np.sqrt(self.width), (small.shape[1], self.width))
        return np.asarray((small / 255.0) @ turn)


BINS = 24


@dataclass(frozen=True, slots=True)
class ColourTable:
    """P(object | colour)."""

    share: FloatArray
    """(BINS, BINS, BINS)"""

    def __call__(self, frames_NHWC: Array) -> FloatArray:
        """(N, H, W) probability that a pixel shows the object."""
        r, g, b = np.moveaxis(np.asarray(frames_NHWC, np.int64) * BINS // 256, -1, 0)
        return np.asarray(self.share[r, g, b])


def fit_colours(pairs: Sequence[tuple[Array, BoolArray]]) -> ColourTable:
    """From pictures (T, H, W, 3) with masks (T, H, W) of the object."""
    count = np.zeros((2, BINS, BINS, BINS))
    for frames, mask in pairs:
        bins = frames.astype(np.int64) * BINS // 256
        flat = (bins[..., 0] * BINS + bins[..., 1]) * BINS + bins[..., 2]
        for which in (0, 1):
            count[which] += np.bincount(flat[mask == bool(which)], minlength=BINS**3).reshape(count.shape[1:])
    # Neighbouring colours lend each other their counts: an imagined picture is never of exactly a colour seen.
    smooth = [count[0].copy(), count[1].copy()]
    for k in (0, 1):
        for axis in range(3):
            padded = np.pad(smooth[k], [(1, 1) if a == axis else (0, 0) for a in range(3)])
            low, high = (np.take(padded, np.arange(s, s + BINS), axis=axis) for s in (0, 2))
            smooth[k] = 0.5 * smooth[k] + 0.25 * (low + high)
    return ColourTable(smooth[1] / (smooth[0] + smooth[1] + 1e-3))


HEIGHTS_M = np.linspace(-0.02, 0.15, 69)
"""Edges of the bins of how much nearer a pixel is than the empty scene."""


@dataclass(frozen=True, slots=True)
class HeightTable:
    """P(object | how much nearer a pixel is than in the median picture of the camera)."""

    scene_HW: FloatArray
    share: FloatArray

    def __call__(self, frames_NHW: Array) -> FloatArray:
        """(N, H, W) probability that a pixel shows the object."""
        nearer = self.scene_HW - np.asarray(frames_NHW, np.float64)
        return np.asarray(self.share[np.clip(np.digitize(nearer, HEIGHTS_M), 0, len(HEIGHTS_M))])


def fit_heights(pairs: Sequence[tuple[Array, BoolArray]]) -> HeightTable:
    """From depth pictures (T, H, W) of one camera that stands still, with masks of the object."""
    scene = np.median(np.concatenate([frames for frames, _ in pairs]), axis=0)
    count = np.zeros((2, len(HEIGHTS_M) + 1))
    for frames, mask in pairs:
        place = np.digitize(scene - frames, HEIGHTS_M)
        for which in (0, 1):
            count[which] += np.bincount(place[mask == bool(which)], minlength=count.shape[1])
    return HeightTable(scene, count[1] / (count[0] + count[1] + 1e-3))


Mask = ColourTable | HeightTable


def _moments(share_NHW: FloatArray) -> FloatArray:
    """(N, 10): area, middle, spread of a soft mask, and products of its middle up to the third degree."""
    height, width = share_NHW.shape[1:]
    sure = np.where(share_NHW > 0.3, share_NHW, 0.0)
    area = sure.sum(axis=(1, 2))
    v, u = np.linspace(-1.0, 1.0, height), np.linspace(-1.0, 1.0, width)
    safe = np.maximum(area, 1e-6)
    x, y = (sure.sum(axis=1) * u).sum(axis=1) / safe, (sure.sum(axis=2) * v).sum(axis=1) / safe
    xx = np.maximum((sure.sum(axis=1) * u**2).sum(axis=1) / safe - x * x, 0.0)
    yy = np.maximum((sure.sum(axis=2) * v**2).sum(axis=1) / safe - y * y, 0.0)
    part = area / (height * width)
    return np.stack([part, x, y, x * x, x * y, y * y, np.sqrt(xx), np.sqrt(yy), x * x * x, y * y * y], axis=1)


class PlaceProbe:
    """The object's place on the table, read from one camera's pictures; made by :func:`fit_place`."""

    def __init__(self, look: Mask | Components, readout: Readout, least: float, middle: FloatArray) -> None:
        self._look, self._readout, self._least, self._middle = look, readout, least, middle

    def __call__(self, frames_NHWC: Array) -> tuple[FloatArray, BoolArray]:
        """(N, 2) m and (N,) whether the object was seen; one that was not seen is put into the middle of the data."""
        inputs = _place_inputs(self._look, frames_NHWC)
        masked = not isinstance(self._look, Components)
        seen = inputs[:, 0] >= self._least if masked else np.ones(len(inputs), np.bool_)
        return np.where(seen[:, None], self._readout(inputs), self._middle), np.asarray(seen)


def _place_inputs(look: Mask | Components, frames_NHWC: Array) -> FloatArray:
    found = look(frames_NHWC)
    return found if isinstance(look, Components) else _moments(found)


def fit_place(references: References, camera: str) -> PlaceProbe:
    """Fit on real pictures and true places.

    Where class ids were recorded, colour tells the object, and height above the empty scene in depth of the same
    camera; else place is read from the picture's principal components.

    Raises:
        NotMeasured: no episode knows where the object is.
    """
    known = [
        (t, truth) for t, truth in zip(references.tracks, references.truths, strict=True) if truth.object_xy is not None
    ]
    if len(known) < 2:
        raise NotMeasured("no stream holds object.x and object.y")
    mask = _mask(references, camera, [truth for _, truth in known[:12]])
    look: Mask | Components = mask if mask is not None else references.probe(camera, fit_components)
    inputs, places = [], []
    for tracks, truth in known:
        assert truth.object_xy is not None
        rows = references.rows(tracks, 0, MOST_ROWS)
        inputs.append(_place_inputs(look, tracks.frames[camera][rows]))
        places.append(truth.object_xy[rows])
    area = np.concatenate(inputs)[:, 0]
    least = 0.25 * float(np.median(area)) if mask is not None else 0.0
    shown = [np.where((x[:, :1] >= least) | (mask is None), y, np.nan) for x, y in zip(inputs, places, strict=True)]
    readout = fit_readout(inputs, shown)
    return PlaceProbe(look, readout, least, np.nanmean(np.concatenate(places), axis=0))


def _mask(references: References, camera: str, truths: Sequence[Truth]) -> Mask | None:
    """How the object is told in a camera's pictures: by colour, or by height in the depth of the segmented camera."""
    kind = next(c.kind for c in references.spec.cameras if c.name == camera)
    if kind is Kind.DEPTH:
        pairs = [_masked(references, t, camera) for t in truths if camera == f"observation.depth.{t.segmented}"]
    elif kind is Kind.SEGMENTATION:
        return None
    else:
        pairs = [_masked(references, t, f"observation.images.{t.segmented}") for t in truths]
    held = [pair for pair in pairs if pair is not None]
    if not held:
        return None
    return fit_heights(held) if kind is Kind.DEPTH else fit_colours(held)


def _masked(references: References, truth: Truth, camera: str) -> tuple[Array, BoolArray] | None:
    """Pictures of the segmented camera with the object's mask, whatever cameras the model sees."""
    if truth.segmented is None or camera not in truth.episode.streams:
        return None
    frames = references.pictures(truth.episode, camera)
    rows = np.arange(0, len(frames), max(3, len(frames) // 60))
    ids = truth.ids(rows)
    down, across = (((np.arange(side) + 0.5) * PICTURE / side).astype(np.int64) for side in frames.shape[1:3])
    return np.asarray(frames[rows]), np.asarray(ids[:, down[:, None], across] == CLASS_IDS[OBJECT])
