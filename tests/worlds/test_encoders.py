"""The tokenizer of a trained model as an encoder for search."""

from __future__ import annotations

import numpy as np
import pytest

from worldgate.core.errors import CapabilityMissing
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
