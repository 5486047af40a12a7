"""Text encoders that others trained: loaded, pooled, kept frozen, named in the checkpoint, and refused when changed."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys

import pytest
import torch
from tests.worlds.synthetic import CAMERA, SIZE, episodes

from worldgate.core.config import decode, resolve
from worldgate.core.errors import ConfigError, MissingExtra, NotFound, UsageError, WeightsRefused
from worldgate.core.worlds import Prompt
from worldgate.worlds import checkpoint
from worldgate.worlds.family import load_family
from worldgate.worlds.nn.streams import Words
from worldgate.worlds.texts import Frozen, TextConfig, digest_of, find, reader
from worldgate.worlds.tracks import Inputs
from worldgate.worlds.train.loop import train

transformers = pytest.importorskip("transformers")

WORDS = ["[PAD]", "[UNK]", "push", "the", "red", "block", "into", "bay", "north", "south", "dim", "light"]
SHA = "0123456789abcdef0123456789abcdef01234567"


def pieces():
    """A word-level tokenizer of upstream's own class."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    held = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    held.pre_tokenizer = Whitespace()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=held, pad_token="[PAD]", unk_token="[UNK]")


def upstream(kind, seed=0):
    """A tiny encoder of an upstream class, randomly initialised."""
    torch.manual_seed(seed)
    vocab = len(WORDS)
    if kind == "bert":
        small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
        return transformers.BertModel(transformers.BertConfig(vocab_size=vocab, **small))
    if kind == "t5":
        config = transformers.T5Config(
            vocab_size=vocab, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, decoder_start_token_id=0
        )
        return transformers.T5Model(config)
    text = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    ends = {"vocab_size": vocab, "bos_token_id": 0, "eos_token_id": vocab - 1, "pad_token_id": 0}
    seen = {**text, "image_size": 8, "patch_size": 4}
    return transformers.CLIPModel(transformers.CLIPConfig(text_config={**text, **ends}, vision_config=seen))


def saved(folder, kind="bert", seed=0):
    """Saved as upstream saves it."""
    upstream(kind, seed).save_pretrained(folder)
    pieces().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("text") / "tiny-bert")


def config(folder, **more):
    return TextConfig(encoder="hf", name=str(folder), **more)


@pytest.mark.parametrize(("kind", "pooling"), [("bert", "mean"), ("bert", "first"), ("t5", "mean"), ("clip", "pooler")])
def test_what_upstream_says_is_what_is_read(kind, pooling, tmp_path) -> None:
    folder = saved(tmp_path / kind, kind)
    texts = ["push the red block", "dim light"]
    ours = Frozen(config(folder, pooling=pooling), 8)
    held = pieces()(texts, padding=True, return_tensors="pt")
    held = {name: held[name] for name in ("input_ids", "attention_mask")}
    theirs = upstream(kind).eval()
    with torch.no_grad():
        if kind == "clip":
            wanted = theirs.text_model(**held).pooler_output
        elif kind == "t5":
            hidden, mask = theirs.get_encoder()(**held).last_hidden_state, held["attention_mask"].unsqueeze(-1)
            wanted = (hidden * mask).sum(dim=1) / mask.sum(dim=1)
        else:
            hidden, mask = theirs(**held).last_hidden_state, held["attention_mask"].unsqueeze(-1)
            wanted = hidden[:, 0] if pooling == "first" else (hidden * mask).sum(dim=1) / mask.sum(dim=1)
    torch.testing.assert_close(ours.inputs(texts), wanted)
    assert ours(ours.inputs(texts)).shape == (2, 8)


def test_a_text_is_encoded_once_and_alike_in_any_company(bert, monkeypatch) -> None:
    ours = Frozen(config(bert), 8)
    alone = ours.inputs(["dim light"])
    asked = []
    encode = Frozen._encode
    monkeypatch.setattr(Frozen, "_encode", lambda self, texts: asked.append(texts) or encode(self, texts))
    several = ours.inputs(["dim light", "", "push the red block into bay", "dim light"])
    assert asked == [["push the red block into bay"]]
    torch.testing.assert_close(several[[0, 3]], alone.repeat(2, 1))
    assert not several[1].any()


def test_the_encoder_is_frozen_and_no_part_of_the_weights(bert) -> None:
    ours = Frozen(config(bert), 8)
    said = ours.inputs(["dim light"])
    assert not said.requires_grad
    assert {name.split(".")[0] for name in ours.state_dict()} == {"project"}
    assert sum(p.numel() for p in ours.parameters()) == 2 * 16 + 16 * 8 + 8


def test_the_small_encoder_stays_the_default() -> None:
    assert isinstance(reader(TextConfig(), 8), Words)
    for odd in (TextConfig(encoder="hf"), TextConfig(name="bert")):
        with pytest.raises(UsageError, match="has a name"):
            reader(odd, 8)


def test_it_is_chosen_as_any_option_is(bert) -> None:
    sets = ("text.encoder=hf", f"text.name={bert}", "text.pooling=first")
    made = resolve(load_family("masked").Config(), sets=sets, environment=False).value
    assert made.text == config(bert, pooling="first")
    with pytest.raises(ConfigError):
        resolve(load_family("masked").Config(), sets=("text.encoder=bert",), environment=False)


def test_the_digest_is_of_every_file_that_is_read(bert, tmp_path) -> None:
    for number, (name, change) in enumerate((
        ("model.safetensors", lambda d: d[:-1] + bytes([d[-1] ^ 1])),
        ("tokenizer.json", lambda d: d.replace(b"dim", b"dym")),
    )):  # fmt: skip
        other = tmp_path / str(number)
        shutil.copytree(bert, other)
        (other / name).write_bytes(change((other / name).read_bytes()))
        assert digest_of(other) != digest_of(bert)
    assert Frozen(config(bert, digest=digest_of(bert)[:16]), 8).digest == digest_of(bert)
    with pytest.raises(WeightsRefused, match="asked for"):
        Frozen(config(bert, digest="ffff"), 8)


def test_only_safetensors_is_read_and_no_code_is_run(bert, tmp_path) -> None:
    pickled = tmp_path / "pickled"
    shutil.copytree(bert, pickled)
    torch.save({}, pickled / "pytorch_model.bin")
    (pickled / "model.safetensors").unlink()
    with pytest.raises(WeightsRefused, match="safetensors alone"):
        find(config(pickled))
    coded = tmp_path / "coded"
    shutil.copytree(bert, coded)
    about = json.loads((coded / "config.json").read_text())
    about |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Own", "AutoModel": "own.Own"}}
    (coded / "config.json").write_text(json.dumps(about))
    (coded / "own.py").write_text("raise SystemExit('code ran')\n")
    with pytest.raises(WeightsRefused, match="not a text encoder"):
        Frozen(config(coded), 8)


def test_a_name_on_the_hub_needs_its_commit_and_is_taken_from_the_cache(bert, tmp_path, monkeypatch) -> None:
    with pytest.raises(UsageError, match="with its commit"):
        find(config("someone/tiny-bert"))
    with pytest.raises(UsageError, match="with its commit"):
        find(config("someone/tiny-bert", revision="main"))
    with pytest.raises(NotFound, match="no such folder"):
        find(config("/nowhere/at/all"))
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(NotFound, match="no such text encoder"):
        find(config("someone/tiny-bert", revision=SHA))
    shutil.copytree(bert, tmp_path / "models--someone--tiny-bert" / "snapshots" / SHA)
    ours = Frozen(config("someone/tiny-bert", revision=SHA), 8)
    assert ours.borrowed() == {
        "text.name": "someone/tiny-bert", "text.revision": SHA, "text.digest": digest_of(bert)
    }  # fmt: skip


def test_without_transformers_the_extra_is_named(bert, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtra) as caught:
        Frozen(config(bert), 8)
    assert 'pip install "worldgate[hf]"' in str(caught.value.hint)


def told(count, first=0):
    """Episodes whose text is one of two."""
    made = episodes(count, first=first)
    return [
        dataclasses.replace(e, facts={**e.facts, "task": ("dim light", "push the red block")[i % 2]})
        for i, e in enumerate(made)
    ]


@pytest.fixture(scope="module")
def trained(bert, tmp_path_factory):
    module = load_family("flow")
    plain = module.debug()
    tokenizer = dataclasses.replace(plain.tokenizer, phase=dataclasses.replace(plain.tokenizer.phase, steps=3))
    made = dataclasses.replace(
        plain,
        inputs=Inputs(cameras=(CAMERA,), size=SIZE, text=("task",)),
        text=config(bert),
        tokenizer=tokenizer,
        phase=dataclasses.replace(plain.phase, steps=3),
    )
    return train("flow", told(4), told(2, first=50), made, tmp_path_factory.mktemp("runs") / "hf")


def test_a_model_trains_beside_it_and_names_it_in_its_checkpoint(trained, bert) -> None:
    tree = checkpoint.about(trained)
    assert tree["borrowed"] == {"text.name": "tiny-bert", "text.revision": "", "text.digest": digest_of(bert)}
    assert decode(load_family("flow").Config, tree["config"], where="x").text.name == str(bert)
    model = checkpoint.load(trained)
    one, two = (
        model.open(Prompt(text=text), samples=1, seed=0).step(None).frames[CAMERA]
        for text in ("dim light", "push the red block")
    )
    assert one.shape == two.shape == (1, 1, SIZE, SIZE, 3)
    assert model.spec.text == ("task",)


def test_a_checkpoint_refuses_another_encoder(trained, bert) -> None:
    weights = bert / "model.safetensors"
    held = weights.read_bytes()
    try:
        saved(bert, seed=1)
        with pytest.raises(WeightsRefused, match="beside something else"):
            checkpoint.load(trained)
    finally:
        weights.write_bytes(held)
    checkpoint.load(trained)
