"""Runs in lerobot's own environment: small policies of those kinds that are told in words what to do.

SmolVLA, pi0 and pi0.5 take their language model from the hub and know one size of it. Here nothing is fetched: the
language model's configuration is a small one, its tokenizer is made on the spot (a character a token), and the sizes
that lerobot writes into its code are replaced before its own modules are built. All else is lerobot's.
"""

from __future__ import annotations

import json
import types
from pathlib import Path
from typing import Any

import torch
from lerobot import __version__ as version
from lerobot.configs.types import NormalizationMode
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, SmolVLMConfig

TASK = "push the red_block left"
LETTERS = ["<pad>", "<unk>", "<bos>", *(chr(code) for code in range(32, 127)), "\n"]
WORDS = 128
WIDTHS = {"gemma_2b": (24, 2), "gemma_300m": (16, 2)}
"""Width and depth that stand for the two sizes that lerobot knows."""
QUANTILES = dict.fromkeys(("STATE", "ACTION"), NormalizationMode.QUANTILES)
CHUNK = {"chunk_size": 6, "n_action_steps": 4, "max_state_dim": 8, "max_action_dim": 7}
CASES: dict[str, tuple[str, int, dict[str, Any]]] = {
    "smolvla": ("smolvla", 2, {**CHUNK, "resize_imgs_with_padding": (32, 32), "num_vlm_layers": 3}),
    "smolvla_self": ("smolvla", 1, {
        **CHUNK, "resize_imgs_with_padding": (16, 16), "num_vlm_layers": 2, "attention_mode": "self_attn",
        "num_steps": 3, "empty_cameras": 1, "prefix_length": 40, "pad_language_to": "max_length"}),
    "pi0": ("pi0", 2, {**CHUNK, "image_resolution": (28, 28), "empty_cameras": 1}),
    "pi05": ("pi05", 1, {**CHUNK, "image_resolution": (28, 28), "num_inference_steps": 4,
                         "normalization_mapping": {**QUANTILES, "VISUAL": NormalizationMode.IDENTITY}}),
}  # fmt: skip
"""Kind, number of cameras, keys of lerobot's configuration."""
RENAMED = {"smolvla": {"observation.images.top": "observation.images.wrist"}}
"""Case -> the robot's name of a camera -> the policy's."""
if version.startswith("0.4."):  # its pi0 needs a transformers of its own
    CASES = {name: case for name, case in CASES.items() if case[0] == "smolvla"}


def tokenizer(kind: str, folder: Path) -> PreTrainedTokenizerFast:
    """A character a token; PaliGemma's begins every text with a mark."""
    made = Tokenizer(models.WordLevel({letter: n for n, letter in enumerate(LETTERS)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    made.add_special_tokens(["<pad>", "<unk>", "<bos>"])
    if kind != "smolvla":
        made.post_processor = processors.TemplateProcessing("<bos> $A", special_tokens=[("<bos>", 2)])
    made.save(str(folder / "tokenizer.json"))
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", unk_token="<unk>", bos_token="<bos>")


def make(kind: str, folder: Path, about: dict[str, Any]) -> tuple[Any, Any]:
    """A policy with random weights, and the function that makes its processors."""
    from lerobot.processor import tokenizer_processor

    held = tokenizer(kind, folder)
    tokenizer_processor.AutoTokenizer = types.SimpleNamespace(from_pretrained=lambda name: held)
    policy, maker = (smolvla if kind == "smolvla" else pi)(kind, folder, about)
    with torch.no_grad():  # weights as they begin are so small or so even that a mistake in their use would hardly show
        for name, weight in policy.named_parameters():
            if "norm" in name:
                weight.add_(0.3 * torch.randn_like(weight))
            elif weight.ndim > 1:
                weight.mul_(2)
    return policy, maker


def smolvla(kind: str, folder: Path, about: dict[str, Any]) -> tuple[Any, Any]:
    """SmolVLA on a small SmolVLM."""
    from lerobot.policies.smolvla import smolvlm_with_expert
    from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig
    from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy
    from lerobot.policies.smolvla.processor_smolvla import make_smolvla_pre_post_processors

    text = {"model_type": "llama", "hidden_size": 24, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 6,
            "intermediate_size": 40, "num_hidden_layers": 5, "vocab_size": WORDS, "rms_norm_eps": 1e-5,
            "pad_token_id": 0}  # fmt: skip
    eye = {"hidden_size": 12, "intermediate_size": 20, "num_hidden_layers": 2, "num_attention_heads": 3,
           "image_size": 32, "patch_size": 8}  # fmt: skip
    config = SmolVLMConfig(text_config=text, vision_config=eye, scale_factor=2, pad_token_id=0)
    (folder / "vlm_config.json").write_text(json.dumps(config.to_dict(), default=str))
    marks = types.SimpleNamespace(tokenizer=types.SimpleNamespace(fake_image_token_id=1, global_image_token_id=2))
    smolvlm_with_expert.AutoConfig = types.SimpleNamespace(from_pretrained=lambda name: config)
    smolvlm_with_expert.AutoProcessor = types.SimpleNamespace(from_pretrained=lambda name: marks)
    return SmolVLAPolicy(SmolVLAConfig(**about)), make_smolvla_pre_post_processors


def pi(kind: str, folder: Path, about: dict[str, Any]) -> tuple[Any, Any]:
    """pi0 or pi0.5 on a small PaliGemma."""
    if kind == "pi0":
        from lerobot.policies.pi0 import modeling_pi0 as modeling
        from lerobot.policies.pi0.configuration_pi0 import PI0Config as Config
        from lerobot.policies.pi0.modeling_pi0 import PI0Policy as Policy
        from lerobot.policies.pi0.processor_pi0 import make_pi0_pre_post_processors as processors
    else:
        from lerobot.policies.pi05 import modeling_pi05 as modeling
        from lerobot.policies.pi05.configuration_pi05 import PI05Config as Config
        from lerobot.policies.pi05.modeling_pi05 import PI05Policy as Policy
        from lerobot.policies.pi05.processor_pi05 import make_pi05_pre_post_processors as processors

    def sizes(variant: str) -> Any:
        width, layers = WIDTHS[variant]
        return modeling.GemmaConfig(width=width, depth=layers, mlp_dim=40, num_heads=8, num_kv_heads=1, head_dim=4)

    whole, expert = modeling.PaliGemmaForConditionalGenerationWithPiGemma, modeling.PiGemmaForCausalLM

    def small_whole(config: Any) -> Any:
        config.text_config.vocab_size = WORDS
        eye = config.vision_config
        eye.hidden_size, eye.intermediate_size, eye.num_hidden_layers, eye.num_attention_heads = 32, 24, 2, 16
        eye.projection_dim = config.text_config.hidden_size
        return whole(config=config)

    def small_expert(config: Any) -> Any:
        config.vocab_size = WORDS
        return expert(config=config)

    modeling.get_gemma_config = sizes
    modeling.PaliGemmaForConditionalGenerationWithPiGemma = small_whole
    modeling.PiGemmaForCausalLM = small_expert
    policy = Policy(Config(**about))
    modeling.PaliGemmaForConditionalGenerationWithPiGemma, modeling.PiGemmaForCausalLM = whole, expert
    return policy, processors
