"""Small random models of every architecture that the scorers are tested on."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from typing import Any

import pytest

from evalkit.scoring.requests import TokenRequest

VOCABULARY = 120
MAX_LENGTH = 96

_COMMON = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
_GROUPED = {**_COMMON, "num_key_value_heads": 2}
_GPT = {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": MAX_LENGTH}
_IDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}

# name: (transformers' configuration class, its arguments, the scorer that a CPU should end up with)
ARCHITECTURES: dict[str, tuple[str, dict[str, Any], str]] = {
    "mistral": ("MistralConfig", {**_GROUPED, "sliding_window": None}, "forest"),
    "mistral-window": ("MistralConfig", {**_GROUPED, "sliding_window": 12}, "forest"),
    "mistral-long-window": ("MistralConfig", {**_GROUPED, "sliding_window": 600}, "forest"),
    "llama-tied": ("LlamaConfig", {**_GROUPED, "tie_word_embeddings": True}, "forest"),
    "qwen2": ("Qwen2Config", _GROUPED, "forest"),
    "qwen2-window": (
        "Qwen2Config",
        {**_GROUPED, "use_sliding_window": True, "sliding_window": 12, "max_window_layers": 1},
        "forest",
    ),
    "qwen3": ("Qwen3Config", {**_GROUPED, "head_dim": 8}, "forest"),
    "gemma2": ("Gemma2Config", {**_GROUPED, "head_dim": 8, "sliding_window": 12}, "forest"),
    "gemma3": (
        "Gemma3TextConfig",
        {
            **_GROUPED,
            "head_dim": 8,
            "sliding_window": 12,
            "layer_types": ["sliding_attention", "full_attention"],
        },
        "forest",
    ),
    "gpt2": ("GPT2Config", _GPT, "forest"),
    "gpt-neox": ("GPTNeoXConfig", {**_COMMON, "max_position_embeddings": MAX_LENGTH}, "forest"),
    "phi3": ("Phi3Config", {**_GROUPED, **_IDS}, "forest"),
    "mixtral": ("MixtralConfig", {**_GROUPED, "num_local_experts": 4, "sliding_window": None}, "forest"),
    "opt": (
        "OPTConfig",
        {
            "vocab_size": VOCABULARY,
            "hidden_size": 32,
            "ffn_dim": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "word_embed_proj_dim": 32,
            "max_position_embeddings": MAX_LENGTH,
        },
        "forest",
    ),
    "cohere": ("CohereConfig", {**_GROUPED, "logit_scale": 0.3}, "forest"),
    "bloom": ("BloomConfig", {"vocab_size": VOCABULARY, "hidden_size": 32, "n_layer": 2, "n_head": 4}, "plain"),
    "mpt": (
        "MptConfig",
        {"vocab_size": VOCABULARY, "d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": MAX_LENGTH},
        "plain",
    ),
    "mamba": (
        "MambaConfig",
        {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 4},
        "plain",
    ),
}


@functools.cache
def _model(name: str) -> Any:
    import torch
    import transformers

    torch.set_num_threads(1)
    kind, arguments, _ = ARCHITECTURES[name]
    if not hasattr(transformers, kind):
        pytest.skip(f"this transformers has no {kind}")
    torch.manual_seed(0)
    config = getattr(transformers, kind)(**_IDS | arguments)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            # Larger than usual, so that a wrong mask or position shows in every score.
            parameter.data.normal_(0, 0.2)
    return model


@pytest.fixture(scope="session")
def build_model() -> Callable[[str], Any]:
    """Return a function from the name of an architecture to its model; models are shared and must not be changed."""
    return _model


@pytest.fixture(scope="session")
def mistral() -> Any:
    """Return a small Mistral without a sliding window."""
    return _model("mistral")


def random_requests(seed: int, count: int = 40, longest: int = 40) -> list[TokenRequest]:
    """Return requests that share prefixes, repeat, and have continuations of one to seven tokens."""
    rng = random.Random(seed)
    stems = [[rng.randrange(VOCABULARY) for _ in range(rng.randrange(1, longest))] for _ in range(4)]
    requests = []
    for _ in range(count):
        stem = rng.choice(stems)
        context = stem[: rng.randrange(1, len(stem) + 1)] + [rng.randrange(2) for _ in range(rng.randrange(4))]
        # A small alphabet makes equal continuations and continuations that extend one another likely.
        continuation = [rng.randrange(3) for _ in range(rng.randrange(1, 8))]
        requests.append(TokenRequest(tuple(context), tuple(continuation)))
    return requests


@pytest.fixture(scope="session")
def make_requests() -> Callable[..., list[TokenRequest]]:
    """Return ``random_requests``."""
    return random_requests


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests that take ``architecture`` once for each."""
    if "architecture" in metafunc.fixturenames:
        metafunc.parametrize("architecture", list(ARCHITECTURES))


@pytest.fixture
def expected_scorer(architecture: str) -> str:
    """Return the scorer that a CPU should choose for the architecture."""
    return ARCHITECTURES[architecture][2]
