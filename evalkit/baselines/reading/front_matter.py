"""What a card's front matter may say where its scores are nous-2023: closed keys, each with closed values."""

from __future__ import annotations

import re
from collections.abc import Iterator

from evalkit.baselines.reading.vocabulary import other_way
from evalkit.baselines.reading.wording import is_model
from evalkit.results.harness_settings import other_weights

_LICENCE = (
    r"apache-2\.0|mit|cc-by(?:-nc)?(?:-sa|-nd)?-[34]\.0|llama[23](?:\.[0-9])?|llama[23]-?community"
    r"|gemma|openrail|other|unknown"
)
_TAGS = (
    r"mistral|mixtral|llama(?:-?[0-9](?:\.[0-9])?)?|qwen[0-9.]*|gemma[0-9]?|phi|yi|solar|zephyr|starling|hermes|openhermes|openmind|deepseek|falcon"
    r"|internlm[0-9]?|chatglm[0-9]?|baichuan[0-9]?|moe|merge|mergekit|lazymergekit|axolotl|unsloth|trl|dpo|orpo|kto|ppo|rlhf|rlaif|sft|ift|distillation"
    r"|synthetic data|gpt-?4|instruct|chat|chatml|finetuned?|fine-tuned?"
    r"|text-generation|transformers|pytorch|safetensors|conversational"
    r"|text-generation-inference|causal-lm|endpoints_compatible|autotrain_compatible|region:us|code|en|zh|[0-9]{1,3}b"
)
"""What a model is, or was made with; `chatml` is the format that it was trained on, not how it was asked."""
_VALUES = {
    "license": _LICENCE,
    "license_name": _LICENCE,
    "language": r"en|zh|code|english|chinese",
    "library_name": r"transformers|openmind|pytorch",
    "pipeline_tag": r"text-generation|conversational",
    "inference": r"true|false",
    "tags": _TAGS,
    "metrics": r"accuracy|acc|acc_norm|mc1|mc2|multiple_choice_grade|exact_str_match|pass@1",
}
_SIZE = re.compile(r"(?<![0-9a-z.])[0-9]{1,3}(?:\.[0-9])?b(?![a-z])")
_DATASET = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+", re.ASCII)


def front_end(lines: list[tuple[int, str]]) -> int:
    """Return the position of the line below the front matter; 0 without one."""
    if not lines or lines[0][1].strip() != "---":
        return 0
    return next((i + 1 for i, (_, text) in enumerate(lines[1:], 1) if text.strip() == "---"), 0)


def named_in_front(lines: list[tuple[int, str]]) -> str | None:
    """Return the model's name that the front matter gives, without quotes; None without one."""
    said = (re.fullmatch(r"model_name\s*:\s*(\S.*?)\s*", text) for _, text in lines[: front_end(lines)])
    return next((found[1].strip("'\"") for found in said if found is not None), None)


def odd_front_matter(lines: list[tuple[int, str]], own: str | None) -> Iterator[tuple[int, str]]:
    """Yield the lines of the front matter that are not known, or whose size is not that of the file's `own` model."""
    key = ""
    sizes = set(_SIZE.findall((own or "").lower()))
    for number, text in lines[1 : max(front_end(lines) - 1, 1)]:
        if not text.strip():
            continue
        found = re.fullmatch(r"(?P<key>\w+)\s*:(?:\s+(?P<value>.*?))?\s*|\s*-\s+(?P<item>.*?)\s*", text)
        if found is None:
            yield number, text
            continue
        key = found["key"] or key
        value = (found["item"] if found["key"] is None else found["value"]) or ""
        inside = re.fullmatch(r"\[(.*)\]", value)
        values = inside[1].split(",") if inside is not None else [value] if value else []
        known = key in _VALUES or key in ("datasets", "model_name")
        plain = [said.strip().strip("'\"") for said in values]
        size = {said.lower() for said in plain if key == "tags" and _SIZE.fullmatch(said.lower())}
        if not known or not all(_is_known(key, said) for said in plain) or (sizes and not size <= sizes):
            yield number, text


def _is_known(key: str, value: str) -> bool:
    if key == "model_name":
        return is_model(value)
    if key == "datasets":  # what a model learned from says nothing of how it was asked, unless its name does
        said = re.sub(r"[/_.-]", " ", value)
        return _DATASET.fullmatch(value) is not None and other_weights(value) is None and other_way(said) is None
    return re.fullmatch(_VALUES[key], value, re.IGNORECASE) is not None
