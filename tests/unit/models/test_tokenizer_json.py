"""A tokenizer.json is encoded and decoded as it stands. The oracle is the ``tokenizers`` library, given the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.errors import ModelError
from evalkit.models.checkpoints import Checkpoint
from evalkit.models.loading import load_tokenizer
from tests.support import tokenizers as families

pytestmark = pytest.mark.model


def pipeline(name: str) -> dict[str, Any]:
    """Return a tokenizer.json: of a family, or one whose parts are not those of any class of transformers."""
    if name in families.FAMILIES:
        return dict(json.loads(families.FAMILIES[name]().backend_tokenizer.to_str()))
    body = pipeline({"digits": "gpt2", "prefix": "gpt2", "llama2": "gemma", "yi": "gemma"}[name])
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    marks = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    if name == "digits":  # SmolLM2, StarCoder
        digits = {"type": "Digits", "individual_digits": True}
        body["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [digits, level]}
    elif name == "prefix":
        body["pre_tokenizer"] = {**level, "add_prefix_space": True}
    else:
        body["pre_tokenizer"] = None
        body["normalizer"] = marks
        if name == "llama2":
            prepend = {"type": "Prepend", "prepend": "▁"}
            body["normalizer"] = {"type": "Sequence", "normalizers": [prepend, marks]}
            body["decoder"]["decoders"].append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    return body


PIPELINES = ("gpt2", "llama3", "qwen2", "gemma", "unigram", "digits", "prefix", "llama2", "yi")
CLASSES = (
    "LlamaTokenizer",
    "LlamaTokenizerFast",
    "CodeLlamaTokenizer",
    "GPT2Tokenizer",
    "GPTNeoXTokenizerFast",
    "Qwen2Tokenizer",
    "GemmaTokenizer",
    "CohereTokenizerFast",
    "PreTrainedTokenizerFast",
    "T5Tokenizer",
    None,
)
TEXTS = (
    "Question: In 1969 there were 1234567 people.\nAnswer: don't",
    " lead",
    "  two   spaces    and     five ",
    "\n\n\nclass A:\n\tdef f(self):\n        return self.x[1] ** 2  # ok\n\n\n",
    "naïve café Ωmega, 東京は首都。 Привет 🙂",
    "a,b;c!?(x)",
    "<s>[INST] What </s> x",
    "x",
)


def write(folder: Path, body: dict[str, Any], class_name: str | None, model_type: str | None, **more: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(body), encoding="utf-8")
    said = {"bos_token": "<s>", "eos_token": "</s>", "clean_up_tokenization_spaces": False, **more}
    if class_name is not None:
        said["tokenizer_class"] = class_name
    (folder / "tokenizer_config.json").write_text(json.dumps(said), encoding="utf-8")
    if model_type is not None:
        (folder / "config.json").write_text(json.dumps({"model_type": model_type}), encoding="utf-8")
    return folder


def loaded(folder: Path, add_bos: bool = False, notes: list[str] | None = None) -> Any:
    import transformers

    checkpoint = Checkpoint(name=str(folder), folder=folder, origin="folder")
    return load_tokenizer(checkpoint, transformers.AutoTokenizer, trust_remote_code=False, add_bos=add_bos, notes=notes)


def own(folder: Path) -> Any:
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def without_space(file: Any) -> Any:
    """Return what transformers 4.57 made of a lone ByteLevel whose space no configuration names."""
    from tokenizers import pre_tokenizers

    file.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return file


def assert_same(tokenizer: Any, file: Any, text: str) -> None:
    ids = file.encode(text, add_special_tokens=False).ids
    assert tokenizer.encode(text, add_special_tokens=False) == ids
    shown = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    assert shown == file.decode(ids, skip_special_tokens=True)


@pytest.mark.parametrize("name", PIPELINES)
def test_the_file_holds_under_every_class(tmp_path: Path, name: str) -> None:
    body = pipeline(name)
    for class_name in CLASSES:
        for model_type in ("llama", None) if class_name in ("LlamaTokenizer", "GPT2Tokenizer") else ("llama",):
            folder = write(tmp_path / f"{class_name}-{model_type}", body, class_name, model_type)
            tokenizer, file = loaded(folder), own(folder)
            is_left = model_type if class_name is None else class_name.startswith(("LlamaTok", "T5Tok"))
            if name == "prefix" and not is_left:
                file = without_space(file)
            for text in TEXTS:
                assert_same(tokenizer, file, text)
            assert (tokenizer.bos_token, tokenizer.eos_token) == ("<s>", "</s>")


@pytest.mark.parametrize("legacy", [True, False])
def test_legacy_changes_nothing_where_the_file_is_there(tmp_path: Path, legacy: bool) -> None:
    folder = write(tmp_path / "model", pipeline("llama2"), "LlamaTokenizer", "llama", legacy=legacy)
    for text in TEXTS:
        assert_same(loaded(folder), own(folder), text)


def test_the_file_alone_is_a_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps(pipeline("llama3")), encoding="utf-8")
    for text in TEXTS:
        assert_same(loaded(tmp_path), own(tmp_path), text)


_PIECES = st.sampled_from(
    [
        " ",
        "  ",
        "\n",
        "\n\n",
        "\t",
        "a",
        "The",
        "don't",
        "12",
        "345",
        ".",
        "(x)",
        "é",
        "東京",
        "🙂",
        "<s>",
        "<t>",
        "<u>",
        "<v>",
        "▁",
    ]
)


@pytest.fixture(scope="module")
def with_added(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    body = pipeline("yi")
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    at = len(body["model"]["vocab"])
    body["added_tokens"] += [
        {"id": at, "content": "<t>", **plain, "lstrip": True},
        {"id": at + 1, "content": "<u>", **plain, "rstrip": True, "special": True},
        {"id": at + 2, "content": "<v>", **plain, "normalized": True},
    ]
    folder = write(tmp_path_factory.mktemp("added"), body, "LlamaTokenizer", "llama")
    return loaded(folder), own(folder)


@given(st.lists(_PIECES, max_size=12))
@settings(max_examples=200, deadline=None)
def test_added_tokens_keep_what_the_file_says_of_them(with_added: tuple[Any, Any], parts: list[str]) -> None:
    assert_same(*with_added, "".join(parts))


def test_special_tokens_and_their_ids_come_from_the_configuration_too(tmp_path: Path) -> None:
    body = pipeline("digits")
    new = {"content": "<|im_end|>", "lstrip": False, "rstrip": False, "normalized": False, "single_word": False}
    at = len(body["model"]["vocab"])
    declared = {str(at): {**new, "special": True}}
    folder = write(
        tmp_path / "model", body, "GPT2Tokenizer", "llama", eos_token="<|im_end|>", added_tokens_decoder=declared
    )
    tokenizer = loaded(folder)
    assert tokenizer.eos_token_id == at
    assert tokenizer.encode("x<|im_end|>", add_special_tokens=False)[-1] == at
    assert tokenizer.decode([at], skip_special_tokens=True) == ""


def test_an_id_that_two_files_give_in_two_ways_is_named(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "m", pipeline("gpt2"), "GPT2Tokenizer", "llama", added_tokens_decoder={"7": {"content": "<s>"}}
    )
    notes: list[str] = []
    loaded(folder, notes=notes)
    assert notes == ["tokenizer_config.json gives <s> the id 7, tokenizer.json 0; the latter holds"]


@pytest.mark.parametrize("name", ["yi", "digits", "llama3"])
@pytest.mark.parametrize("class_name", ["LlamaTokenizer", "GPT2Tokenizer", "PreTrainedTokenizerFast"])
def test_bos_goes_before_a_text_where_it_is_asked_for(tmp_path: Path, name: str, class_name: str) -> None:
    folder = write(tmp_path / "model", pipeline(name), class_name, "llama")
    file, text = own(folder), "a b 12"
    bare = file.encode(text, add_special_tokens=False).ids
    assert loaded(folder, add_bos=True).encode(text) == [file.token_to_id("<s>"), *bare]


def test_a_configured_space_that_the_file_does_not_put_is_named(tmp_path: Path) -> None:
    notes: list[str] = []
    folder = write(tmp_path / "model", pipeline("yi"), "LlamaTokenizer", "llama", add_prefix_space=True)
    for text in TEXTS:
        assert_same(loaded(folder, notes=notes), own(folder), text)
    said = "tokenizer_config.json says add_prefix_space=true, but tokenizer.json puts no space before a text"
    assert notes[0].startswith(said)


@pytest.mark.parametrize("wanted", [True, False])
def test_a_configured_space_before_a_text_holds_for_byte_level_as_in_transformers_4(
    tmp_path: Path, wanted: bool
) -> None:
    folder = write(tmp_path / "model", pipeline("prefix"), "GPT2Tokenizer", "llama", add_prefix_space=wanted)
    plain = own(write(tmp_path / "plain", pipeline("gpt2"), None, None))
    text = ("" if not wanted else " ") + "lead 12"
    assert (
        loaded(folder).encode("lead 12", add_special_tokens=False) == plain.encode(text, add_special_tokens=False).ids
    )


def test_a_space_that_only_the_file_puts_is_left_out_and_named(tmp_path: Path) -> None:
    notes: list[str] = []
    loaded(write(tmp_path / "gpt2", pipeline("prefix"), "GPT2Tokenizer", "gpt2"), notes=notes)
    assert [note.split(";")[0] for note in notes] == [
        "tokenizer.json puts a space before every text, and tokenizer_config.json does not say"
    ]
    more: list[str] = []
    loaded(write(tmp_path / "llama", pipeline("prefix"), "LlamaTokenizer", "llama"), notes=more)
    loaded(write(tmp_path / "null", pipeline("prefix"), "GPT2Tokenizer", "gpt2", add_prefix_space=None), notes=more)
    assert not more


def flags(content: str, **more: bool) -> dict[str, Any]:
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"content": content, **plain, **more}


# Tokens of "<s>[INST] <s>" by tokenizers 0.22.2 over a Llama-2-style file, after adding the token of the configuration:
# whether the token was found before the text was normalized.
@pytest.mark.parametrize(
    ("in_file", "in_config", "before_normalization"),
    [
        ({"special": True, "normalized": True}, {"normalized": False}, False),
        ({"special": True, "normalized": False}, {"normalized": True}, True),
        ({"special": False, "normalized": True}, {"normalized": True}, False),
        ({"special": False, "normalized": True}, {"normalized": False}, True),
        ({"special": False, "normalized": False}, {"normalized": True}, True),
    ],
)
@pytest.mark.parametrize("is_special", [True, False])
def test_where_a_token_is_looked_for_is_what_transformers_4_made_of_file_and_configuration(
    tmp_path: Path, in_file: Any, in_config: Any, before_normalization: bool, is_special: bool
) -> None:
    body = pipeline("llama2")
    for token in body["added_tokens"]:
        if token["content"] == "<s>":
            token.update(in_file)
            at = str(token["id"])
    declared = {at: flags("<s>", **in_config, special=is_special)}
    folder = write(tmp_path / "m", body, "PreTrainedTokenizerFast", None, bos_token=None, added_tokens_decoder=declared)
    tokenizer = loaded(folder)
    # Behind a token that is cut out first, the rest gets its own mark; else the one before the token is the text's.
    found = tokenizer.tokenize("<s>[INST]")
    assert found[1].startswith("▁") == before_normalization
    assert tokenizer.convert_tokens_to_ids("<s>") == int(at)


def test_a_configured_lstrip_holds_as_in_transformers_4(tmp_path: Path) -> None:
    body = pipeline("qwen2")
    at = next(token["id"] for token in body["added_tokens"] if token["content"] == "<s>")
    declared = {str(at): flags("<s>", lstrip=True)}
    folder = write(tmp_path / "m", body, "Qwen2Tokenizer", "qwen2", added_tokens_decoder=declared)
    assert loaded(folder).encode("A <s>", add_special_tokens=False) == own(folder).encode("A<s>").ids


@pytest.mark.parametrize("class_name", ["LlamaTokenizer", "PreTrainedTokenizerFast", "GPT2Tokenizer"])
def test_special_tokens_as_plain_text_where_the_configuration_wants_them_so(tmp_path: Path, class_name: str) -> None:
    folder = write(tmp_path / "m", pipeline("llama2"), class_name, "llama", split_special_tokens=True)
    file = own(folder)
    file.encode_special_tokens = True
    for text in TEXTS:
        assert loaded(folder).encode(text, add_special_tokens=False) == file.encode(text, add_special_tokens=False).ids
    assert file.token_to_id("<s>") not in loaded(folder).encode("<s> x", add_special_tokens=False)


@pytest.mark.parametrize("class_name", ["GemmaTokenizer", "GPTNeoXTokenizerFast", "LlamaTokenizer"])
@pytest.mark.parametrize("key", ["additional_special_tokens", "extra_special_tokens"])
def test_new_special_tokens_get_the_first_ids_in_their_order(tmp_path: Path, class_name: str, key: str) -> None:
    body = pipeline("gemma")
    size = own(write(tmp_path / "plain", body, None, None)).get_vocab_size()
    named = {"unk_token": "<unk>", "pad_token": "</s>", "bos_token": "<s>", "eos_token": "</s>"}
    tokenizer = loaded(write(tmp_path / "m", body, class_name, None, **named, **{key: ["<|z|>", "<|a|>"]}))
    assert tokenizer.convert_tokens_to_ids(["<|z|>", "<|a|>"]) == [size, size + 1]
    assert len(tokenizer) == size + 2
    assert tokenizer.mask_token is None


def test_special_tokens_of_the_file_are_tried_though_the_configuration_changes_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import transformers

    folder = write(
        tmp_path / "m",
        pipeline("qwen2"),
        "Qwen2Tokenizer",
        "qwen2",
        added_tokens_decoder={"0": flags("<s>", rstrip=True)},
    )
    encode = transformers.PreTrainedTokenizerBase.encode
    monkeypatch.setattr(
        transformers.PreTrainedTokenizerBase,
        "encode",
        lambda self, text, **o: encode(self, text.replace("<s>", "<"), **o),
    )
    with pytest.raises(ModelError, match=r"transformers encodes '<s> </s>"):
        loaded(folder)


def test_the_fingerprint_follows_the_pipeline(tmp_path: Path) -> None:
    from evalkit.models.fingerprint import of_tokenizer

    both = [write(tmp_path / name, pipeline(name), "GPT2Tokenizer", "llama") for name in ("gpt2", "digits")]
    assert len({of_tokenizer(loaded(folder)) for folder in both}) == 2


def test_what_still_differs_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers

    folder = write(tmp_path / "model", pipeline("digits"), "GPT2Tokenizer", "llama", add_prefix_space=False)
    encode = transformers.PreTrainedTokenizerBase.encode
    monkeypatch.setattr(
        transformers.PreTrainedTokenizerBase, "encode", lambda self, text, **o: encode(self, text.strip(), **o)
    )
    with pytest.raises(ModelError, match=r"tokenizer\.json: transformers encodes ' lead' as .*, the file itself as"):
        loaded(folder)
