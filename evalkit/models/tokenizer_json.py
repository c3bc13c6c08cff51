"""A tokenizer with a tokenizer.json: as that file says, whatever transformers makes of it.

transformers 4 loaded the file. transformers 5 builds many tokenizers anew from the class that tokenizer_config.json
names, and takes only vocabulary, merges and post-processor from the file; its normalizer, its way of splitting texts
and its decoder are then the class's. Where the two differ (Yi and Llama 2 as LlamaTokenizer, OLMo, Granite or
HyperCLOVA X as GPT2Tokenizer, a Qwen with another pattern: issues 45488, 45812 and 45920 of transformers), texts get
other tokens than those that the model was trained on, without a word.

Here the file is put back: normalizer, pre-tokenizer, model, decoder and added tokens are its own; special tokens,
chat template and length are those of the configuration, and BOS and EOS around a text as both of them demand. What
comes out is compared with the file itself, by the ``tokenizers`` library alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from evalkit.errors import ModelError

FILE = "tokenizer.json"
CONFIG = "tokenizer_config.json"
# What ways of splitting texts differ in: spaces and line ends, in runs and at either end, digits, contractions, code,
# scripts with and without case, marks, unusual spaces, normal forms, bytes, what looks like a special token.
PROBES = (
    "Question: What is the capital of France?\nAnswer: Paris",
    " lead",
    "  two  and   three    four     trail   ",
    "x",
    "",
    "\n",
    "\n\n\n\n\n",
    " \n \n\t\n  \n",
    'def f(x):\n    """Return x.\n\n    >>> f(1)\n    """\n        return x ** 2  # ok\n\n\n\tpass\r\n\r\n',
    "1 12 123 1234 1234567 3.14 2,000,000 0x1F ½ ² ٣",
    "don't I'M we'll they'RE you'd it's 'tis",
    'a,b;c!?(x)[1]{2}<3>/4\\5|6 `7` "8" ... --- *** ===',
    "HTTPServer camelCase snake_case UPPER lower MiXeD",
    "naïve façade cafe\u0301 Ωmega ﬁn Å Å",
    "東京は首都。123你好，世界！ 한국어 텍스트",
    "Привет мир. مرحبا بالعالم हिन्दी ไทย",
    "🙂 👩‍👩‍👧 🇫🇷 é\u200b\u00a0\u3000\ufeffend",
    "<s> </s> <|endoftext|> <|im_start|>user\n<|im_end|> [INST] <unk><pad>",
    "▁mark Ġmark Ċ <0x0A> ▁▁two",
)


def as_tokenizer_json(folder: Path, tokenizer: Any, notes: list[str] | None = None) -> None:
    """Make a tokenizer encode and decode as its tokenizer.json does. Nothing is done without one.

    Args:
        folder: of the tokenizer.
        tokenizer: as transformers loaded it, over the ``tokenizers`` library; changed in place.
        notes: gets what a user should know, one line each.

    Raises:
        ModelError: it still encodes or decodes otherwise; says how.
    """
    from tokenizers import Tokenizer

    made = getattr(tokenizer, "backend_tokenizer", None)
    if not (folder / FILE).is_file() or made is None:
        return
    own = Tokenizer.from_file(str(folder / FILE))
    own.no_truncation()
    own.no_padding()
    if getattr(own.model, "dropout", None):  # of training: each encoding of a text would be another one
        own.model.dropout = None
    settings = _settings(folder)
    _prefix_space(own, settings, notes)
    ids = {text: list(own.encode(text, add_special_tokens=False).ids) for text in PROBES}
    texts = {text: own.decode(ids[text], skip_special_tokens=False) for text in PROBES}
    in_file = {token.content: repr(token) for token in own.get_added_tokens_decoder().values()}
    _add_tokens(own, made, settings, notes)
    changed = {
        token.content for token in own.get_added_tokens_decoder().values() if in_file.get(token.content) != repr(token)
    }
    if hasattr(own, "encode_special_tokens"):
        own.encode_special_tokens = made.encode_special_tokens
    own.post_processor = made.post_processor
    tokenizer._tokenizer = own
    ends = [token for token in (tokenizer.bos_token, tokenizer.eos_token) if token is not None]
    if any(own.token_to_id(str(token)) != made.token_to_id(str(token)) for token in ends):
        _update_post_processor(tokenizer)
    _compare(folder / FILE, tokenizer, ids, texts, changed)


def needs_file_alone(tokenizer: Any) -> bool:
    """Whether transformers chose a class that does not use the ``tokenizers`` library, and no code of the checkpoint's.

    So it does for Mistral's models where mistral-common is installed.
    """
    return getattr(tokenizer, "backend_tokenizer", None) is None and not is_own_code(tokenizer)


def is_own_code(tokenizer: Any) -> bool:
    """Whether a tokenizer's class is the checkpoint's own code, which is trusted to know what it does."""
    return type(tokenizer).__module__.split(".")[0] == "transformers_modules"


def brings_code(folder: Path) -> bool:
    """Whether a tokenizer's configuration names code of its own."""
    return bool(_settings(folder).get("auto_map"))


def _settings(folder: Path) -> dict[str, Any]:
    file = folder / CONFIG
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}


def _prefix_space(own: Any, settings: dict[str, Any], notes: list[str] | None) -> None:
    """Let the configuration say whether a space goes before a text, where transformers 4 did: byte-level tokenizers."""
    wanted = settings.get("add_prefix_space")
    if not isinstance(wanted, bool):
        return
    from tokenizers import pre_tokenizers

    splitter = own.pre_tokenizer
    if isinstance(splitter, pre_tokenizers.ByteLevel):
        splitter.add_prefix_space = wanted
        own.pre_tokenizer = splitter
        return
    tokens = own.encode("a", add_special_tokens=False).tokens
    there = bool(tokens) and tokens[0][0] in "▁Ġ"
    if there != wanted and notes is not None:
        puts = "puts a space before every text" if there else "puts no space before a text"
        notes.append(
            f"tokenizer_config.json says add_prefix_space={str(wanted).lower()}, but tokenizer.json {puts}; the latter "
            "holds"
        )


def _add_tokens(own: Any, made: Any, settings: dict[str, Any], notes: list[str] | None) -> None:
    """Add the tokens of the configuration: those that it declares, and those that transformers has beyond the file."""
    from tokenizers import AddedToken

    there = {token.content: token for token in own.get_added_tokens_decoder().values()}
    declared = settings.get("added_tokens_decoder")
    wanted: list[Any] = []
    for _, fields in _by_id(declared if isinstance(declared, dict) else {}):
        known = {
            name: fields[name]
            for name in ("lstrip", "rstrip", "single_word", "normalized", "special")
            if name in fields
        }
        wanted.append(AddedToken(str(fields["content"]), **known))
    contents = {token.content for token in wanted}
    for _, token in sorted(made.get_added_tokens_decoder().items()):
        if token.content in there:
            if token.special and not there[token.content].special and token.content not in contents:
                wanted.append(_special(there[token.content]))  # named as BOS, EOS ... by the configuration alone
        elif token.content not in contents:
            wanted.append(token)
    for token in wanted:
        if token.content in there and repr(token) == repr(there[token.content]):
            continue
        (own.add_special_tokens if token.special else own.add_tokens)([token])
    if notes is not None and isinstance(declared, dict):
        notes += [
            f"tokenizer_config.json gives {fields['content']} the id {index:,}, tokenizer.json "
            f"{own.token_to_id(str(fields['content'])):,}; the latter holds"
            for index, fields in _by_id(declared)
            if own.token_to_id(str(fields["content"])) != index
        ][:1]


def _by_id(declared: dict[str, Any]) -> Iterable[tuple[int, dict[str, Any]]]:
    numbered = [
        (int(index), fields)
        for index, fields in declared.items()
        if str(index).isdigit() and isinstance(fields, dict) and fields.get("content")
    ]
    return sorted(numbered, key=lambda pair: pair[0])


def _special(token: Any) -> Any:
    from tokenizers import AddedToken

    return AddedToken(
        token.content,
        single_word=token.single_word,
        lstrip=token.lstrip,
        rstrip=token.rstrip,
        normalized=token.normalized,
        special=True,
    )


def _update_post_processor(tokenizer: Any) -> None:
    """Let a tokenizer make its post-processor anew, where its class can: the ids in it are others now."""
    update = getattr(tokenizer, "update_post_processor", None)
    if update is not None:
        update()


def _compare(file: Path, tokenizer: Any, ids: dict[str, list[int]], texts: dict[str, str], changed: set[str]) -> None:
    """Raise `ModelError` where the tokenizer differs from its file on a probe that has none of the changed tokens."""
    for text in PROBES:
        if any(token in text for token in changed):
            continue
        found = list(tokenizer.encode(text, add_special_tokens=False))
        if found != ids[text]:
            at = next((k for k, pair in enumerate(zip(found, ids[text])) if pair[0] != pair[1]), 0)  # noqa: B905
            raise ModelError(
                f"{file}: transformers encodes {text[:40]!r} as {tokenizer.convert_ids_to_tokens(found[at : at + 4])}, "
                f"the file itself as {tokenizer.convert_ids_to_tokens(ids[text][at : at + 4])}; name "
                "PreTrainedTokenizerFast as tokenizer_class in its tokenizer_config.json"
            )
        back = tokenizer.decode(found, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        if back != texts[text]:
            raise ModelError(
                f"{file}: transformers decodes the tokens of {text[:40]!r} as {back[:40]!r}, the file itself as "
                f"{texts[text][:40]!r}; name PreTrainedTokenizerFast as tokenizer_class in its tokenizer_config.json"
            )
