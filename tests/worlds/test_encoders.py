"""The tokenizer of a trained model as an encoder for search."""

from __future__ import annotations

import numpy as np
import pytest
from tests.worlds.synthetic import picture

from worldgate.core.errors import CapabilityMissing
from worldgate.data.duplicates.rules import AlikeConfig
from worldgate.data.duplicates.semantic import alike, likeness
from worldgate.worlds.encoders import encoder_of


def test_latents_of_alike_pictures_are_near_and_a_model_without_a_tokenizer_says_so(family, model):
    if family != "conv":
        with pytest.raises(CapabilityMissing, match="no tokenizer"):
            encoder_of(model)
        return
    encoder = encoder_of(model)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (2, 40, 40, 3), dtype=np.uint8)
    images = np.stack([images[0], images[0] // 2 * 2, images[1]])
    first, near, far = encoder.encode(images)
    assert encoder.digest == model.spec.digest
    assert np.linalg.norm(first - near) < 0.5 * np.linalg.norm(first - far)
    assert np.isfinite(encoder.encode(images)).all()


def test_runs_through_the_same_places_are_alike_to_our_own_tokenizer(family, model):
    if family != "conv":
        pytest.skip("only conv has a tokenizer")
    encoder = encoder_of(model)
    turn = np.linspace(0, np.pi, 8)
    left = [(-0.7 + 0.1 * np.cos(t), 0.6 * np.sin(t)) for t in turn]
    right = [(0.7 + 0.1 * np.cos(t), -0.6 * np.sin(t)) for t in turn]
    paths = {"a": left, "b": [(x + 0.02, y) for x, y in reversed(left)], "c": right}
    raw = {log: {"front": encoder.encode(np.stack([picture(x, y) for x, y in path]))} for log, path in paths.items()}
    scores = {pair: likeness(raw[pair[0]], raw[pair[1]])[0] for pair in ("ab", "ac")}
    assert scores["ab"] > scores["ac"]
    found = list(alike(raw, AlikeConfig(least=0.8)))
    assert [(x.first, x.second) for x in found] == [("a", "b")]
