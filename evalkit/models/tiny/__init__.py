"""The built-in model ``tiny``: a random Mistral of 0.4 million parameters that is the same on every machine.

It knows nothing. It is there so that every path of the product, from documents to tables, runs in seconds with no
download: its scores are chance level, and they are the same numbers wherever they are computed in float32.

Weights come from NumPy's legacy generator, whose stream is frozen, one seed a parameter name, and only from its uniform
draws, which need no mathematical library: bit-identical for every version of NumPy, torch and transformers.
"""

from __future__ import annotations

import hashlib
import json
import math
import zlib
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

NAME = "tiny"
VOCABULARY_SIZE = 2048
# Ids 0 to 3. As in the Hermes models, a turn's end ends the text.
SPECIAL_TOKENS = ("<s>", "</s>", "<|im_start|>", "<|im_end|>")
BOS, PAD, _, EOS = SPECIAL_TOKENS

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)

# What `MistralConfig` is given. Anything that it isn't given here must have had one default since transformers 4.45.
CONFIG: dict[str, Any] = {
    "vocab_size": VOCABULARY_SIZE,
    "hidden_size": 64,
    "intermediate_size": 192,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "sliding_window": None,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
    "bos_token_id": 0,
    "pad_token_id": 1,
    "eos_token_id": 3,
}
# Standard deviation of the output scores before the softmax: flat enough to be unsure, steep enough to prefer.
LOGIT_STD = 1.0


def weight(name: str, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Return the float32 weights of the parameter ``name``.

    Norms are ones. A matrix of shape (out, in) is uniform with standard deviation 1/sqrt(in), which keeps the size of
    activations from layer to layer; embeddings have 1, the output head ``LOGIT_STD``/sqrt(in).
    """
    if len(shape) == 1:
        return np.ones(shape, dtype=np.float32)
    std = 1.0 if "embed_tokens" in name else 1.0 / math.sqrt(shape[1])
    if name == "lm_head.weight":
        std *= LOGIT_STD
    generator = np.random.RandomState(zlib.crc32(name.encode()))
    uniform = generator.random_sample(shape) * 2.0 - 1.0
    return (uniform * (std * math.sqrt(3.0))).astype(np.float32)


def model(dtype: torch.dtype) -> PreTrainedModel:
    """Build the model on the CPU, in ``dtype``, ready for inference."""
    import torch
    from transformers import MistralConfig, MistralForCausalLM

    built = MistralForCausalLM(MistralConfig(**CONFIG))
    with torch.no_grad():
        for name, parameter in built.named_parameters():
            parameter.copy_(torch.from_numpy(weight(name, tuple(parameter.shape))))
    built.name_or_path = NAME
    placed: PreTrainedModel = built.to(dtype=dtype).eval()
    return placed


def tokenizer(add_bos: bool = False) -> PreTrainedTokenizerFast:
    """Build the byte-level BPE tokenizer. It adds a BOS token only where ``add_bos`` asks for one."""
    from tokenizers import Tokenizer
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    text = resources.files(__name__).joinpath("tokenizer.json").read_text(encoding="utf-8")
    backend = Tokenizer.from_str(text)
    if add_bos:
        backend.post_processor = TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, CONFIG["bos_token_id"])])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        chat_template=CHATML,
        model_max_length=CONFIG["max_position_embeddings"],
        clean_up_tokenization_spaces=False,
        name_or_path=NAME,
    )


def fingerprint() -> str:
    """Return the sha256 (hex) of the configuration and of every weight, in order of parameter name."""
    digest = hashlib.sha256(json.dumps(CONFIG, sort_keys=True).encode())
    for name, shape in sorted(_shapes().items()):
        digest.update(f"\n{name} {shape}\n".encode())
        digest.update(weight(name, shape).astype("<f4").tobytes())
    return digest.hexdigest()


def _shapes() -> dict[str, tuple[int, ...]]:
    """Return the shape of each parameter of the configuration, without torch."""
    hidden, inner, vocabulary = CONFIG["hidden_size"], CONFIG["intermediate_size"], CONFIG["vocab_size"]
    key_value = hidden // CONFIG["num_attention_heads"] * CONFIG["num_key_value_heads"]
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (vocabulary, hidden),
        "model.norm.weight": (hidden,),
        "lm_head.weight": (vocabulary, hidden),
    }
    for layer in range(CONFIG["num_hidden_layers"]):
        prefix = f"model.layers.{layer}"
        shapes |= {
            f"{prefix}.self_attn.q_proj.weight": (hidden, hidden),
            f"{prefix}.self_attn.k_proj.weight": (key_value, hidden),
            f"{prefix}.self_attn.v_proj.weight": (key_value, hidden),
            f"{prefix}.self_attn.o_proj.weight": (hidden, hidden),
            f"{prefix}.mlp.gate_proj.weight": (inner, hidden),
            f"{prefix}.mlp.up_proj.weight": (inner, hidden),
            f"{prefix}.mlp.down_proj.weight": (hidden, inner),
            f"{prefix}.input_layernorm.weight": (hidden,),
            f"{prefix}.post_attention_layernorm.weight": (hidden,),
        }
    return shapes
