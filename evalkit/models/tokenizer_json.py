"""A tokenizer with a tokenizer.json: as that file says, whatever transformers makes of it.

transformers 4 loaded the file. transformers 5 builds many tokenizers anew from the class that tokenizer_config.json
names, and takes only vocabulary, merges and post-processor from the file; its normalizer, its way of splitting texts
and its decoder are then the class's. Where the two differ (Yi and Llama 2 as LlamaTokenizer, OLMo, Granite or
HyperCLOVA X as GPT2Tokenizer, a Qwen with another pattern: issues 45488, 45812 and 45920 of transformers), texts get
other tokens than those that the model was trained on, without a word.

Here the file is put back: normalizer, pre-tokenizer, model, decoder and added tokens are its own; special tokens,
chat template and length are those of the configuration, and BOS and EOS around a text as both of them demand. What
comes out is compared with the file itself, by the ``tokenizers`` library alone.

Where transformers 4 (4.57, tokenizers 0.22; published scores were made with it) let the configuration change what the
file says, it does so here: the space before a text of byte-level tokenizers, and the flags of added tokens (see
`_prefix_space` and `_merged`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from evalkit.errors import ModelError

FILE = "tokenizer.json"
CONFIG = "tokenizer_config.json"
FLAGS = ("lstrip", "rstrip", "single_word", "normalized", "special")
ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
# Classes that left the space before a text to the file where no configuration named it; all others put none.
LEAVE_PREFIX_SPACE = frozenset(("LlamaTokenizer", "LlamaTokenizerFast", "T5Tokenizer", "T5TokenizerFast"))
# Models that 4.57 loaded by these where no file names a class.
LEAVE_PREFIX_SPACE_MODELS = frozenset(
    [
        "arcee",
        "deepseek_v2",
        "deepseek_v3",
        "diffllama",
        "ernie4_5",
        "ernie4_5_moe",
        "jamba",
        "jetmoe",
        "llama",
        "llama4",
        "llama4_text",
        "mistral",
        "mixtral",
        "persimmon",
        "phi3",
        "phimoe",
        "t5",
        "zamba",
        "zamba2",
    ]
)
GPT2_CLASSES = frozenset(("GPT2Tokenizer", "GPT2TokenizerFast"))
# Models that 4.57 loaded by these where no file names a class.
GPT2_MODELS = frozenset(
    (
        "gpt_bigcode",
        "gpt_neo",
        "gpt2",
        "gptj",
        "granite",
        "granitemoe",
        "granitemoehybrid",
        "granitemoeshared",
        "opt",
        "starcoder2",
    )
)
PROBED_TOKENS = 16
"""So many of the file's special tokens are tried, each within a text."""
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
    _prefix_space(own, settings, _leaves_prefix_space(folder, settings), notes)
    if hasattr(own, "encode_special_tokens"):  # split_special_tokens: special tokens are encoded as plain text
        own.encode_special_tokens = bool(getattr(tokenizer, "split_special_tokens", made.encode_special_tokens))
    in_file = {token.content: repr(token) for token in own.get_added_tokens_decoder().values()}
    special = [token.content for _, token in sorted(own.get_added_tokens_decoder().items()) if token.special]
    probes = (*PROBES, *(f"{token}a {token} b.{token}\n" for token in special[:PROBED_TOKENS]))
    before = _encoded(own, probes)
    _add_tokens(own, tokenizer, folder, settings, notes)
    changed = {
        token.content for token in own.get_added_tokens_decoder().values() if in_file.get(token.content) != repr(token)
    }
    # Texts with tokens that the configuration adds or changes are others than the file's alone.
    after = _encoded(own, [text for text in probes if any(token in text for token in changed)])
    own.post_processor = made.post_processor
    tokenizer._tokenizer = own
    ends = [token for token in (tokenizer.bos_token, tokenizer.eos_token) if token is not None]
    if any(own.token_to_id(str(token)) != made.token_to_id(str(token)) for token in ends):
        _update_post_processor(tokenizer)
    _compare(folder / FILE, tokenizer, {**before, **after})


def needs_file_alone(tokenizer: Any) -> bool:
    """Whether transformers chose a class that does not use the ``tokenizers`` library, and no code of the checkpoint's.

    So it does for Mistral's models where mistral-common is installed.
    """
    return getattr(tokenizer, "backend_tokenizer", None) is None and not is_own_code(tokenizer)


def is_own_code(tokenizer: Any) -> bool:
    """Whether a tokenizer's class is the checkpoint's own code, which is trusted to know what it does."""
    return type(tokenizer).__module__.split(".")[0] == "transformers_modules"


def brings_code(folder: Path) -> bool:
    """Whether a tokenizer's configuration, or its model's, names code of its own for it."""
    named = _settings(folder).get("auto_map")
    of_model = _json(folder / "config.json").get("auto_map")
    return bool(named) or (isinstance(of_model, dict) and bool(of_model.get("AutoTokenizer")))


def is_gpt2(folder: Path) -> bool:
    """Whether a tokenizer is GPT-2's vocabulary and merges alone, by the class named or the one of its model's."""
    if (folder / FILE).is_file() or not all((folder / name).is_file() for name in ("vocab.json", "merges.txt")):
        return False
    config = _json(folder / "config.json")
    name = _settings(folder).get("tokenizer_class") or config.get("tokenizer_class")
    return name in GPT2_CLASSES if name else config.get("model_type") in GPT2_MODELS


def _settings(folder: Path) -> dict[str, Any]:
    return _json(folder / CONFIG)


def _json(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}


def _encoded(own: Any, texts: Iterable[str]) -> dict[str, tuple[list[int], str]]:
    """Return each text's tokens, and the text of these, by the ``tokenizers`` library alone."""
    ids = {text: list(own.encode(text, add_special_tokens=False).ids) for text in texts}
    return {text: (found, own.decode(found, skip_special_tokens=False)) for text, found in ids.items()}


def _leaves_prefix_space(folder: Path, settings: dict[str, Any]) -> bool:
    """Whether the class by which transformers 4 loaded leaves the space to the file: as named, else the model's."""
    model = folder / "config.json"
    config = json.loads(model.read_text(encoding="utf-8")) if model.is_file() else {}
    name = settings.get("tokenizer_class") or config.get("tokenizer_class")
    return name in LEAVE_PREFIX_SPACE if name else config.get("model_type") in LEAVE_PREFIX_SPACE_MODELS


def _prefix_space(own: Any, settings: dict[str, Any], is_left: bool, notes: list[str] | None) -> None:
    """Let the configuration say whether a space goes before a text, where transformers 4 did.

    That is where the file's whole way of splitting is one ByteLevel. A configuration that does not say meant the
    class's default, no space, whatever the file says; the classes of Llama and T5, and ``null``, left it to the file
    (tried with 4.57). Everywhere else the file holds.
    """
    wanted = settings.get("add_prefix_space", None if is_left else False)
    if not isinstance(wanted, bool):
        return
    from tokenizers import pre_tokenizers

    splitter = own.pre_tokenizer
    if isinstance(splitter, pre_tokenizers.ByteLevel):
        if splitter.add_prefix_space and "add_prefix_space" not in settings and notes is not None:
            notes.append(
                "tokenizer.json puts a space before every text, and tokenizer_config.json does not say; none is put, "
                "as in transformers 4 (add_prefix_space=true there puts it)"
            )
        splitter.add_prefix_space = wanted
        own.pre_tokenizer = splitter
        return
    if "add_prefix_space" not in settings:
        return
    tokens = own.encode("a", add_special_tokens=False).tokens
    there = bool(tokens) and tokens[0][0] in "▁Ġ"
    if there != wanted and notes is not None:
        puts = "puts a space before every text" if there else "puts no space before a text"
        notes.append(
            f"tokenizer_config.json says add_prefix_space={str(wanted).lower()}, but tokenizer.json {puts}; the latter "
            "holds"
        )


def _add_tokens(own: Any, tokenizer: Any, folder: Path, settings: dict[str, Any], notes: list[str] | None) -> None:
    """Add the tokens of the configuration: those that it declares, and those that it names beyond the file.

    New tokens get their ids in the order of transformers 4: declared ones by their ids, then those with a role (BOS,
    EOS ...), then the additional ones as listed. Of the defaults of a class, which no file names, BOS, EOS and UNK are
    added as there; others are not (Gemma's <mask>, GPT-NeoX' <|padding|>), since transformers 5 has some that 4 had
    not, and all ids behind them would be others.
    """
    from tokenizers import AddedToken

    made = tokenizer.backend_tokenizer
    there = {token.content: token for token in own.get_added_tokens_decoder().values()}
    declared = settings.get("added_tokens_decoder")
    wanted: list[Any] = []
    for _, fields in _by_id(declared if isinstance(declared, dict) else {}):
        token = AddedToken(str(fields["content"]), **{name: fields[name] for name in FLAGS if name in fields})
        wanted.append(_merged(there[token.content], token) if token.content in there else token)
    contents = {token.content for token in wanted}
    numbered, named = _named(folder, settings)
    roles = {role: str(token) for role, token in tokenizer.special_tokens_map.items() if role in ROLES}
    with_role = [roles[role] for role in ROLES if role in roles and (role in ROLES[:3] or roles[role] in named)]
    order = {content: rank for rank, content in enumerate(dict.fromkeys([*numbered, *with_role, *named]))}
    vocabulary = own.get_vocab(with_added_tokens=True)
    known = {*order, *contents, *vocabulary}
    for role, content in roles.items():
        if content not in known:
            setattr(tokenizer, role, None)
    found = [token for _, token in sorted(made.get_added_tokens_decoder().items())]
    for token in sorted(found, key=lambda token: order.get(token.content, len(order))):
        if token.content in there:
            if token.special and not there[token.content].special and token.content not in contents:
                wanted.append(_special(there[token.content]))  # named as BOS, EOS ... by the configuration alone
        elif token.content not in contents and token.content in known:
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


def _named(folder: Path, settings: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Return the tokens that files beside tokenizer.json name: those of added_tokens.json by their ids, the others."""

    def read(name: str) -> dict[str, Any]:
        body = json.loads((folder / name).read_text(encoding="utf-8")) if (folder / name).is_file() else {}
        return body if isinstance(body, dict) else {}

    def texts(value: Any) -> list[str]:
        if isinstance(value, dict):
            return [value["content"]] if isinstance(value.get("content"), str) else texts(list(value.values()))
        if isinstance(value, list):
            return [text for one in value for text in texts(one)]
        return [value] if isinstance(value, str) else []

    older, special = read("added_tokens.json"), read("special_tokens_map.json")
    numbered = [text for _, text in sorted((index, text) for text, index in older.items() if isinstance(index, int))]
    lists = ("additional_special_tokens", "extra_special_tokens")
    further = [key for key in (*settings, *special) if key.endswith("_token") and key not in ROLES]
    keys = (*ROLES, *lists, *further)
    return numbered, [text for key in keys for file in (settings, special) for text in texts(file.get(key))]


def _merged(in_file: Any, token: Any) -> Any:
    """Return a token of the file with the flags that the configuration gives it, as tokenizers 0.22 took them.

    That library replaced an added token, but went on looking for it where it had looked before: before the text is
    normalized if either said so; for special ones, where the file said. Once special, a token remained so. Newer ones
    replace everything.
    """
    from tokenizers import AddedToken

    return AddedToken(
        token.content,
        single_word=token.single_word,
        lstrip=token.lstrip,
        rstrip=token.rstrip,
        normalized=in_file.normalized and (in_file.special or token.normalized),
        special=in_file.special or token.special,
    )


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


def _compare(file: Path, tokenizer: Any, expected: dict[str, tuple[list[int], str]]) -> None:
    """Raise `ModelError` where the tokenizer's tokens or their text are others than the file's (`_encoded`)."""
    for text, (ids, shown) in expected.items():
        found = list(tokenizer.encode(text, add_special_tokens=False))
        if found != ids:
            at = next((k for k, pair in enumerate(zip(found, ids)) if pair[0] != pair[1]), 0)  # noqa: B905
            raise ModelError(
                f"{file}: transformers encodes {text[:40]!r} as {tokenizer.convert_ids_to_tokens(found[at : at + 4])}, "
                f"the file itself as {tokenizer.convert_ids_to_tokens(ids[at : at + 4])}; name "
                "PreTrainedTokenizerFast as tokenizer_class in its tokenizer_config.json"
            )
        back = tokenizer.decode(found, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        if back != shown:
            raise ModelError(
                f"{file}: transformers decodes the tokens of {text[:40]!r} as {back[:40]!r}, the file itself as "
                f"{shown[:40]!r}; name PreTrainedTokenizerFast as tokenizer_class in its tokenizer_config.json"
            )
