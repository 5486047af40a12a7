"""LeRobot's policies that are told in words what to do: SmolVLA, pi0 and pi0.5, from their folders.

Weights, statistics, tokenizer, order of the cameras, box of the pictures, chunk and form of the prompt become the
release. Notable choices: nothing is fetched, so the tokenizer (and for SmolVLA the language model's configuration) must
lie beside the weights; cameras that LeRobot fills with black and masks are left out, which gives the same numbers; an
instruction longer than the policy reads is refused, where lerobot drops its end.

Shape legend: B batch, N tokens, D channels of a stream, H x W pixels.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from worldgate.control.policies._acting import ChunkPolicy, fill
from worldgate.control.policies._lerobot_files import CONFIG, Folder
from worldgate.control.policies._lerobot_pi import Pi, Pi0Config, Pi05Config
from worldgate.control.policies._lerobot_smolvla import SmolVla, SmolVlaConfig, of_language_model
from worldgate.control.policies._lerobot_vlm import STATE, WORDS, Shapes
from worldgate.control.policies._release import Fitted
from worldgate.core.config import decode
from worldgate.core.digest import canonical, sha256
from worldgate.core.errors import (
    CapabilityMissing,
    ConfigError,
    DataRefused,
    MissingExtra,
    NotFound,
    UsageError,
    WeightsRefused,
)
from worldgate.core.normalisers import Normaliser
from worldgate.core.streams import Array, FloatArray
from worldgate.core.worlds import Observation, Signal
from worldgate.fleet.releases import Controller, Release

TOKENIZER, LANGUAGE_MODEL = "tokenizer.json", "vlm_config.json"
PROMPTS = {
    "smolvla": "{task}\n",
    "pi0": "{task}\n",
    "pi05": "Task: {task}, State: {state};\nAction: ",
}
"""How each kind is told; pi0.5 reads the state as numbers from 0 to 255."""
_SMOLVLM, _PALIGEMMA = "HuggingFaceTB/SmolVLM2-500M-Video-Instruct", "google/paligemma-3b-pt-224"
_UNREAD = (
    "adapt_to_pi_aloha",
    "use_delta_joint_actions_aloha",
    "use_relative_actions",
    "add_image_special_tokens",
    "use_visual_memory",
    "use_proprioceptive_memory",
    "use_peft",
)
"""Switches of LeRobot's that change what a policy does, and that are read only when off."""
_BINS = 256
_EMPTY = ".empty_camera_"
_SHARED = {
    "model.vlm_with_expert.vlm.lm_head.weight": "model.vlm_with_expert.vlm.model.text_model.embed_tokens.weight",
    "model.paligemma_with_expert.paligemma.lm_head.weight": (
        "model.paligemma_with_expert.paligemma.model.language_model.embed_tokens.weight"
    ),
}
_CONFIGS: dict[str, type[SmolVlaConfig] | type[Pi0Config] | type[Pi05Config]] = {
    "smolvla": SmolVlaConfig,
    "pi0": Pi0Config,
    "pi05": Pi05Config,
}
KINDS = tuple(_CONFIGS)


class Words:
    """Instructions as tokens.

    Args:
        data: a ``tokenizer.json``.
        kind: of the policy, one of :data:`PROMPTS`.
        longest: tokens that the policy reads.
        vocabulary: how many different ones it knows.

    Raises:
        MissingExtra: the library that reads it is not installed.
        WeightsRefused: it is none.
    """

    def __init__(self, data: bytes, kind: str, longest: int, vocabulary: int) -> None:
        try:
            from tokenizers import Tokenizer
        except ModuleNotFoundError as error:
            hint = 'pip install "worldgate[tokens]"'
            raise MissingExtra(
                "instructions need a package that is not installed", got=error.name, hint=hint
            ) from error
        try:
            self._tokenizer = Tokenizer.from_str(data.decode())
        except Exception as error:  # the library raises nothing narrower
            raise WeightsRefused("not a tokenizer", got=str(error)[:80], where=TOKENIZER) from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._kind, self._longest, self._vocabulary = kind, longest, vocabulary

    def tokens(self, text: str, state_D: FloatArray) -> Tensor:
        """(1, N) of an instruction and the normalised state.

        Raises:
            UsageError: more tokens than the policy reads.
            WeightsRefused: a token that it does not know.
        """
        if self._kind == "pi05":
            task = text.strip().replace("_", " ").replace("\n", " ")
            bins = np.digitize(state_D, np.linspace(-1, 1, _BINS + 1)[:-1]) - 1
            text = PROMPTS[self._kind].format(task=task, state=" ".join(map(str, bins)))
        else:
            text = PROMPTS[self._kind].format(task=text.removesuffix("\n"))
        found = self._tokenizer.encode(text).ids
        first = self._tokenizer.token_to_id("<bos>")
        if self._kind != "smolvla" and first is not None and found[:1] != [first]:
            found = [first, *found]
        if len(found) > self._longest:
            got = f"{len(found)} tokens: {text[:60]!r}"
            raise UsageError("an instruction longer than this policy reads", got=got, hint=f"at most {self._longest}")
        if not found or max(found) >= self._vocabulary:
            got, hint = f"tokens {found[:8]}", f"{self._vocabulary} tokens are known; copy its own {TOKENIZER}"
            raise WeightsRefused("a tokenizer of another policy", got=got, where=TOKENIZER, hint=hint)
        return torch.tensor([found])


def tree_of(held: Folder, root: Path) -> dict[str, Any]:
    """Those keys of the folder's configuration that the release keeps.

    Raises:
        NotFound: the language model's configuration does not lie beside the weights.
        CapabilityMissing: a switch that changes what the policy does, or another history than one row.
        DataRefused: no camera, no state, or a wider state or action than the policy reads.
    """
    config, where = held.config, root / CONFIG
    odd = [name for name in _UNREAD if config.get(name)]
    odd += ["rtc_config"] * bool((config.get("rtc_config") or {}).get("enabled"))
    odd += [name for name, usual in (("n_obs_steps", 1), ("use_cache", True)) if config.get(name, usual) != usual]
    if odd:
        got = ", ".join(f"{name} = {config[name]}" for name in odd)
        raise CapabilityMissing("this way of acting is not read", got=got, where=where)
    for name in ("relative_actions_processor", "absolute_actions_processor"):
        if held.steps.get(name, {}).get("enabled"):
            raise CapabilityMissing("actions relative to the state are not read", got=name, where=root)
    vectors = {name: shape for name, shape in held.inputs.items() if len(shape) == 1}
    if set(vectors) != {STATE} or len(vectors) == len(held.inputs):
        got = ", ".join(held.inputs)
        raise DataRefused("a policy of this kind sees a state and cameras, and nothing else", got=got, where=where)
    wide = {STATE: (vectors[STATE][0], "max_state_dim"), "action": (held.action[0], "max_action_dim")}
    for name, (width, key) in wide.items():
        if width > config.get(key, 32):
            hint = f"{key} is {config.get(key, 32)}"
            raise DataRefused("more channels than the policy reads", got=width, where=name, hint=hint)
    wanted = {field.name for field in fields(_CONFIGS[held.kind])}
    tree = {key: value for key, value in config.items() if key in wanted}
    told = held.steps.get("tokenizer_processor", {}).get("max_length")
    tree |= {"tokenizer_max_length": told} if told else {}
    if held.kind == "smolvla":
        source = str(config.get("vlm_model_name", _SMOLVLM))
        path = root / LANGUAGE_MODEL
        try:
            tree |= of_language_model(json.loads(_beside(path, "config.json", source)), path)
        except ValueError as error:
            raise DataRefused("not JSON", got=str(error)[:80], where=path) from error
    return tree


def tokenizer_of(held: Folder, root: Path) -> Array:
    """The bytes of the folder's tokenizer, (N,) uint8.

    Raises:
        NotFound: it does not lie beside the weights.
    """
    own = held.config.get("vlm_model_name", _SMOLVLM) if held.kind == "smolvla" else _PALIGEMMA
    source = held.steps.get("tokenizer_processor", {}).get("tokenizer_name") or own
    return np.frombuffer(_beside(root / TOKENIZER, TOKENIZER, str(source)), np.uint8)


def _beside(path: Path, name: str, source: str) -> bytes:
    if not path.is_file():
        hint = f"copy {name} of {source} to {path}"
        raise NotFound(
            "a file that LeRobot takes from the hub must lie beside the weights", got=f"no {path.name}", hint=hint
        )
    return path.read_bytes()


def head_of(
    kind: str, tree: Mapping[str, Any], observation: Sequence[Signal], action: int, tensors: Mapping[str, Tensor]
) -> SmolVla | Pi:
    """A policy's modules, filled.

    Raises:
        ConfigError: not its configuration.
        WeightsRefused: not its tensors.
    """
    config = decode(_CONFIGS[kind], tree, where=CONFIG)
    seen = [signal.name for signal in observation if len(signal.shape) == 3]
    shapes: Shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    with torch.device("meta"):  # billions of weights are not drawn to be thrown away
        if isinstance(config, SmolVlaConfig):
            head: SmolVla | Pi = SmolVla(config, seen, action, shapes)
        else:
            head = Pi(config, seen, action, shapes)
    fill(head, {name: tensor.float() for name, tensor in tensors.items()})
    return head


def own_names(kind: str, tensors: Mapping[str, Array]) -> dict[str, Array]:
    """The tensors that actions come from, named as lerobot names them today.

    Older files of pi0 begin without ``model.``; where words that are read and words that are said share one tensor, the
    file keeps it once, under either name.
    """
    if kind != "smolvla" and not any(name.startswith("model.") for name in tensors):
        tensors = {f"model.{name}": tensor for name, tensor in tensors.items()}
    for said, read in _SHARED.items():
        if said in tensors and read not in tensors:
            tensors = {**tensors, read: tensors[said]}
    ignored = SmolVla.ignored if kind == "smolvla" else Pi.ignored
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(ignored)}


def fitted(
    held: Folder, root: Path, observation: tuple[Signal, ...], action: Signal, *, convention: str, rate_hz: float
) -> Fitted:
    """A folder of one of these kinds, ready to become a release.

    Raises:
        WeightsRefused: tensors or a tokenizer that are not this policy's.
        See also :func:`tree_of` and :func:`tokenizer_of`.
    """
    tree, tokenizer = tree_of(held, root), tokenizer_of(held, root)
    tensors = own_names(held.kind, held.tensors)
    observation = tuple(signal for signal in observation if _EMPTY not in signal.name)
    streams = {s.name: held.normaliser.statistics(s.name) for s in (*observation, action)}
    names = _names(held, root)
    observation = tuple(replace(signal, name=names.get(signal.name, signal.name)) for signal in observation)
    streams = {names.get(name, name): statistics for name, statistics in streams.items()}
    try:
        given = {name: torch.from_numpy(tensor) for name, tensor in tensors.items()}
        head = head_of(held.kind, tree, observation, action.shape[0], given)
    except ConfigError as error:
        raise DataRefused("not the configuration of this policy", got=error.got, where=error.where) from error
    config = head.config
    words = Words(tokenizer.tobytes(), held.kind, config.tokenizer_max_length, head.vocabulary)
    words.tokens("go", np.zeros(held.inputs[STATE][0]))
    controller = Controller(
        convention=convention, rate_hz=rate_hz, chunk=config.chunk_size, execute=config.n_action_steps
    )  # fmt: skip
    return Fitted(
        policy="lerobot",
        tensors={**tensors, TOKENIZER: tokenizer},
        about={"lerobot": canonical({"type": held.kind, **tree}).decode()},
        normaliser=Normaliser(streams=streams),
        observation=observation,
        action=action,
        controller=controller,
        pre={"prompt": PROMPTS[held.kind], "tokenizer": sha256(tokenizer.tobytes())},
        runtime={"torch": ".".join(torch.__version__.split(".")[:2])},
    )


def _names(held: Folder, root: Path) -> dict[str, str]:
    """Name of a camera among the weights -> the robot's name of it, where the folder's pipeline renames.

    Raises:
        CapabilityMissing: the pipeline renames something else.
    """
    told = held.steps.get("rename_observations_processor", {}).get("rename_map") or {}
    renamed = {ours: theirs for ours, theirs in told.items() if ours != theirs}
    seen = {name for name, shape in held.inputs.items() if len(shape) == 3}
    if (
        not set(renamed.values()) <= seen
        or len(set(renamed.values())) < len(renamed)
        or set(renamed) & set(held.inputs)
    ):
        got, hint = f"{renamed}", "cameras alone, each under a name of its own"
        raise CapabilityMissing("this renaming is not read", got=got, where=root, hint=hint)
    return {theirs: ours for ours, theirs in renamed.items()}


def acting(release: Release, kind: str, tree: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> ToldPolicy:
    """The policy that a release of one of these kinds describes.

    Raises:
        WeightsRefused: no tokenizer, or tensors of another policy.
    """
    data = tensors[TOKENIZER].numpy().tobytes()
    head = head_of(
        kind, tree, release.observation, release.action.shape[0], {n: t for n, t in tensors.items() if n != TOKENIZER}
    )
    return ToldPolicy(release, head, Words(data, kind, head.config.tokenizer_max_length, head.vocabulary))


class ToldPolicy(ChunkPolicy):
    """Executes a policy that is told in words what to do; fulfils ``InstructedPolicy``."""

    def __init__(self, release: Release, head: SmolVla | Pi, words: Words) -> None:
        self._words = words
        super().__init__(release, head)

    def reset(self, *, seed: int) -> None:
        """Forget instruction and plans; chance goes on from the seed."""
        super().reset(seed=seed)
        self._text = ""

    def tell(self, text: str) -> None:
        """See :class:`worldgate.core.tasks.InstructedPolicy`."""
        if not text.strip():
            raise UsageError("an instruction without words", got=repr(text), hint="say what to do")
        width = next(s.shape[0] for s in self._release.observation if s.name == STATE)
        self._words.tokens(text, np.ones(width))
        self._text = text
        self._queue.clear()  # what was planned followed other words

    def _seen(self, observation: Observation) -> dict[str, Tensor]:
        """Numbers (1, D) and pictures (1, 3, H, W) of any size, normalised, and words (1, N)."""
        if not self._text:
            hint = "tell(text) before act()"
            raise UsageError("this release was not told what to do", got="no instruction", hint=hint)
        seen: dict[str, Tensor] = {}
        for signal in self._release.observation:
            held = np.asarray(observation.get(signal.name, ()))
            statistics = self._release.normaliser.statistics(signal.name)
            if len(signal.shape) == 1:
                if held.shape != signal.shape or not np.isfinite(held).all():
                    raise DataRefused("not the observation this release reads", got=held, where=signal.name)
                row_D = statistics.apply(np.asarray(held, np.float64)).astype(np.float32)
                seen[signal.name] = torch.from_numpy(row_D)[None]
                seen[WORDS] = self._words.tokens(self._text, row_D)
                continue
            if held.ndim != 3 or held.shape[2] != 3 or held.dtype != np.uint8 or 0 in held.shape:
                got = f"{held.dtype} {held.shape}" if held.size else "nothing"
                what = "not the picture this release looks at: uint8 (H, W, 3)"
                raise DataRefused(what, got=got, where=signal.name)
            mean, std = (
                torch.tensor(part, dtype=torch.float32)[:, None, None] for part in (statistics.mean, statistics.std)
            )
            picture = torch.from_numpy(np.array(held)).permute(2, 0, 1).float() / 255
            seen[signal.name] = ((picture - mean) / std)[None]
        return seen
