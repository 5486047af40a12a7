"""Checkpoints: identity, and everything that must be refused."""

from __future__ import annotations

import json
import shutil
import struct

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.worlds.synthetic import episodes

from worldgate.core.digest import canonical, digest_file, sha256
from worldgate.core.errors import AlreadyExists, NotFound, SchemaTooNew, WeightsRefused
from worldgate.worlds import checkpoint
from worldgate.worlds.imagine import imagine


@pytest.fixture
def copy(trained, tmp_path):
    """A checkpoint that a test may damage."""
    return shutil.copytree(trained, tmp_path / "model")


def rewrite(folder, **changes):
    """Change the configuration as somebody would who wants the digests to fit."""
    path = folder / "config.json"
    path.write_bytes(canonical(json.loads(path.read_bytes()) | changes))


def replace_weights(folder, data):
    (folder / "model.safetensors").write_bytes(data)
    rewrite(folder, weights=sha256(data))


def test_a_checkpoint_is_named_by_its_configuration_which_names_the_rest(trained, model):
    spec, tree = model.spec, json.loads((trained / "config.json").read_bytes())
    assert spec.digest == checkpoint.identity(trained) == digest_file(trained / "config.json")
    assert tree["weights"] == digest_file(trained / "model.safetensors")
    assert spec.normaliser == digest_file(trained / "normaliser.json") == tree["normaliser"]


def test_the_spec_says_what_the_model_must_be_fed(model, family):
    spec = model.spec
    assert (spec.family, spec.rate_hz) == (family, 10.0)
    assert [(s.name, s.unit, s.shape) for s in spec.states] == [("observation.state", "m", (3,))]
    assert (spec.action.name, spec.action.unit, spec.action.shape) == ("action", "m", (2,))
    assert bool(spec.cameras) == (family == "conv")


def test_loading_twice_predicts_the_same_to_the_bit(trained):
    held = episodes(1, first=90)[0]
    one, two = (imagine(checkpoint.load(trained), held, 10, 5) for _ in range(2))
    for name, values in one.frame.states.items():
        assert np.array_equal(values, two.frame.states[name])


def test_a_flipped_byte_of_the_weights_is_refused(copy):
    data = bytearray((copy / "model.safetensors").read_bytes())
    data[-3] ^= 1
    (copy / "model.safetensors").write_bytes(bytes(data))
    with pytest.raises(WeightsRefused, match="weights are not those"):
        checkpoint.load(copy)


def test_a_changed_normaliser_is_refused(copy):
    path = copy / "normaliser.json"
    path.write_bytes(path.read_bytes().replace(b'"unit":"m"', b'"unit":"mm"', 1))
    with pytest.raises(WeightsRefused, match="normaliser"):
        checkpoint.load(copy)


def test_a_consistent_forgery_is_another_model(copy, trained):
    tensors = load_file(copy / "model.safetensors")
    name = next(k for k, v in tensors.items() if v.is_floating_point() and v.numel() > 4)
    tensors[name] = tensors[name] + 0.1
    save_file(tensors, copy / "model.safetensors")
    rewrite(copy, weights=digest_file(copy / "model.safetensors"))
    assert checkpoint.load(copy).spec.digest != checkpoint.identity(trained)
    with pytest.raises(WeightsRefused, match="promised"):
        checkpoint.load(copy, expect=checkpoint.identity(trained))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\x04\x95pickle",
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 10**12),
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 60) + b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,999999]}}'.ljust(60) + b"\0" * 16,
        struct.pack("<Q", 62) + b'{"a":{"dtype":"F32","shape":[-4],"data_offsets":[0,16]}}'.ljust(62) + b"\0" * 16,
    ],
    ids=[
        "empty",
        "pickle",
        "huge header",
        "header beyond the file",
        "not an object",
        "offsets beyond",
        "negative shape",
    ],
)
def test_hostile_files_are_refused(copy, data):
    replace_weights(copy, data)
    with pytest.raises(WeightsRefused):
        checkpoint.load(copy)


def test_missing_extra_misshapen_and_nonfinite_tensors_are_refused_by_name(copy):
    tensors = load_file(copy / "model.safetensors")
    name = next(k for k, v in tensors.items() if v.is_floating_point() and v.ndim == 3)
    wrong = {
        "missing": {k: v for k, v in tensors.items() if k != name},
        "unknown": tensors | {"backdoor": torch.zeros(1)},
        "another shape": tensors | {name: tensors[name][:, :-1].contiguous()},
        "another shape or type": tensors | {name: tensors[name].double()},
        "not finite": tensors | {name: torch.full_like(tensors[name], float("nan"))},
    }
    for word, held in wrong.items():
        save_file(held, copy / "model.safetensors")
        rewrite(copy, weights=digest_file(copy / "model.safetensors"))
        with pytest.raises(WeightsRefused, match=word) as caught:
            checkpoint.load(copy)
        assert ("backdoor" if word == "unknown" else name) in str(caught.value)


def test_a_torch_file_is_refused_without_being_read(tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "model.pt")
    with pytest.raises(WeightsRefused, match="safetensors alone"):
        checkpoint.load(tmp_path)
    with pytest.raises(WeightsRefused, match="safetensors alone"):
        checkpoint.load(tmp_path / "model.pt")


def test_an_empty_folder_holds_no_checkpoint(tmp_path):
    with pytest.raises(NotFound, match="no checkpoint here"):
        checkpoint.load(tmp_path)


def test_a_newer_schema_and_an_unknown_configuration_key_are_refused(copy):
    tree = json.loads((copy / "config.json").read_bytes())
    rewrite(copy, schema=99)
    with pytest.raises(SchemaTooNew):
        checkpoint.load(copy)
    rewrite(copy, schema=1, config=tree["config"] | {"backdoor": 1})
    with pytest.raises(WeightsRefused):
        checkpoint.load(copy)


def test_a_checkpoint_is_never_overwritten(trained, model):
    with pytest.raises(AlreadyExists):
        checkpoint.save(trained, "state", model.family.config, model.family, {})
