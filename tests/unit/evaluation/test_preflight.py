"""The look before the work: each finding on a model built for it, and none where nothing is wrong."""

from __future__ import annotations

import random
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from evalkit.config.run_config import ModelConfig, RunConfig
from evalkit.errors import ConfigError, ModelError
from evalkit.evaluation.preflight import look_at_model
from evalkit.evaluation.preflight_requests import Requested, check_requests
from evalkit.models import tiny
from evalkit.models.chat import check_chat_template
from evalkit.scoring.encode import encode_pairs

pytestmark = pytest.mark.model

CONFIG = RunConfig(model=ModelConfig(name="m"), data=("samples",))
PAIR = ("boolq", "Is it so?\nAnswer:", " yes")


class Model:
    """What the look needs of an `OpenMindLM`."""

    add_bos_token = False
    max_gen_toks = 256
    tokens_of_lm_eval: frozenset[str] = frozenset()
    tokenizer_checkpoint: Any = None
    running = staticmethod(nullcontext)

    def __init__(self, rows: int = tiny.VOCABULARY_SIZE, max_length: int = 4096, kind: str = "mistral") -> None:
        import torch

        class Unigram(torch.nn.Module):
            """The likeliest next token is always the same."""

            config = SimpleNamespace(model_type=kind, vocab_size=rows)

            def get_input_embeddings(self) -> Any:
                return torch.nn.Embedding(rows, 2)

            def forward(self, input_ids: Any) -> Any:
                return SimpleNamespace(logits=torch.zeros(*input_ids.shape, rows))

        self.tokenizer: Any = tiny.tokenizer()
        self.max_length = max_length
        self.model = Unigram()

    def encode(self, pairs: list[tuple[str, str]]) -> Any:
        return encode_pairs(self.tokenizer, pairs, prefix_token_id=self.prefix_token_id)

    @property
    def prefix_token_id(self) -> int | None:
        bos, eos = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        return eos if bos is None else bos


def look(model: Model, *pairs: tuple[str, str, str], prompts: tuple[tuple[str, str, int], ...] = ()) -> list[str]:
    return [*look_at_model(CONFIG, model, chat=False), *check_requests("m", model, Requested(pairs, prompts))]


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    assert look(Model(), PAIR, prompts=(("humaneval", "def f():\n", 512),)) == []


def test_ordinary_ids_beyond_the_embedding_stop_with_both_numbers() -> None:
    with pytest.raises(ModelError, match=r"ids up to 2,047, the model's embedding only 2,000 rows.*--tokenizer"):
        look(Model(rows=2000), PAIR)


def test_an_added_token_beyond_the_embedding_is_a_warning_until_a_request_has_it() -> None:
    model = Model()
    model.tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    (warning,) = look(model, PAIR)
    assert "ids up to 2,048" in warning
    assert "2,048 rows" in warning
    assert "[PAD]" in warning
    assert model.tokenizer.pad_token_id < 2048
    with pytest.raises(ModelError, match=r"contain \[PAD\], id 2,048"):
        look(model, ("boolq", "Fill with [PAD]", " yes"))


def test_neither_bos_nor_eos_matters_only_to_an_empty_context() -> None:
    model = Model()
    model.tokenizer.bos_token = model.tokenizer.eos_token = None
    assert look(model, PAIR) == []
    with pytest.raises(ModelError, match="neither a BOS nor an EOS token"):
        look(model, ("boolq", " ", "yes"))


def test_gemma_without_bos_names_the_option() -> None:
    (warning,) = look(Model(kind="gemma2"), PAIR)
    assert "near chance" in warning
    assert "--add-bos" in warning


def test_a_tokenizer_that_adds_bos_by_itself_is_named() -> None:
    model = Model()
    model.tokenizer = tiny.tokenizer(add_bos=True)
    (warning,) = look(model, PAIR)
    assert "<s>" in warning
    assert "--add-bos" in warning


def test_new_tokens_without_room_stop_with_a_number_that_fits() -> None:
    model = Model(max_length=100)
    prompts = (("humaneval_chat", "def f(): pass", 100),)
    with pytest.raises(ConfigError, match="--max-new-tokens") as raised:
        look(model, prompts=prompts)
    fits = int(str(raised.value).split("--max-new-tokens (")[1].split()[0])
    assert look(model, prompts=((prompts[0][0], prompts[0][1], fits),)) == []


def test_a_continuation_that_is_longer_than_the_context_stops_with_a_length_that_holds_it() -> None:
    pairs = (("boolq", "Is it so?", " yes, as far as anybody knows"), ("piqa", "Is it?", " no"))
    with pytest.raises(ConfigError, match=r"^boolq: .*--max-length") as raised:
        look(Model(max_length=2), *pairs)
    fits = int(str(raised.value).split("--max-length ")[1].split()[0])
    # The slow count: tokens of the continuation behind its context.
    tokenizer = tiny.tokenizer()
    assert fits == len(tokenizer.encode("".join(pairs[0][1:]))) - len(tokenizer.encode(pairs[0][1]))
    look(Model(max_length=fits), *pairs)
    with pytest.raises(ConfigError):
        look(Model(max_length=fits - 1), *pairs)


def test_a_token_that_transformers_added_is_not_said_to_be_the_checkpoints(tmp_path: Any) -> None:
    model = Model()
    model.tokenizer.add_special_tokens({"pad_token": "[PAD]", "unk_token": "<|endoftext|>"})
    model.tokenizer_checkpoint = SimpleNamespace(folder=tmp_path)
    (tmp_path / "added_tokens.json").write_text('{"[PAD]": 2048}')
    theirs, own = look(model, PAIR)
    assert theirs.startswith("transformers adds <|endoftext|> to this tokenizer, whose files do not have it")
    assert "ids up to 2,048" in own
    assert "[PAD]" in own
    assert "endoftext" not in own


def test_cut_texts_are_counted_as_a_slow_count_does() -> None:
    rng = random.Random(3)
    model = Model(max_length=40)
    words = ["alpha", "beta", "gamma.", "naïve", "東京"]
    pairs = [("boolq", " ".join(rng.choices(words, k=rng.randint(1, 30))), " yes") for _ in range(200)]
    whole = [model.tokenizer.encode(c + k, add_special_tokens=False) for _, c, k in pairs]
    # A row has at most 40 input tokens, and its last token is only predicted.
    expected = sum(len(ids) - 1 > 40 for ids in whole)
    (warning,) = look(model, *pairs)
    assert 0 < expected < 200
    assert warning.startswith(f"{expected} of 200 requests")


def test_prompts_that_lose_their_beginning_are_counted_and_the_advice_cuts_none() -> None:
    model = Model(max_length=60)
    prompts = tuple(("humaneval", "x = 1\n" * n, 40) for n in (1, 2, 30))
    with_cut = look(model, prompts=prompts)
    assert with_cut[0].startswith("humaneval: 1 of 3 prompts")


def test_a_token_over_the_join_is_found_and_counted() -> None:
    from tokenizers import AddedToken

    model = Model(rows=tiny.VOCABULARY_SIZE + 1)
    model.tokenizer.add_tokens(AddedToken(": yes", normalized=False))
    (warning,) = look(model, PAIR, PAIR, ("boolq", "Is it so?\nAnswer:", " no"))
    assert "in 2 of 3 requests" in warning
    assert "'Answer:' + ' yes'" in warning


TEMPLATES = {
    "": "no chat template",
    "{% for m in messages %}{{ m['content']": "broken",
    "{{ tools | length }}{% for m in messages %}{{ m['content'] }}{% endfor %}": "wants tools,",
    "{% for m in messages %}{{ m['content'][0]['text'] }}{% endfor %}": "contents in parts",
    "{{ tools | length }}{% for m in messages %}{{ m['content'][0]['text'] }}{% endfor %}": "tools, and contents in",
    "{{ 1 / 0 }}": "cannot render one plain question",
    "always the same": "leaves the user's message out",
}


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_chat_template_that_cannot_ask_stops(template: str) -> None:
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = template or None
    with pytest.raises(ModelError, match=TEMPLATES[template]):
        check_chat_template("m", tokenizer)


@pytest.mark.parametrize(
    ("template", "says"),
    [
        (
            "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
            "{% for m in messages %}{{ m['content'] }}{% endfor %}",
            "takes no system message",
        ),
        ("{% for m in messages if m['role'] == 'user' %}{{ m['content'] }}{% endfor %}", "leaves the system message"),
    ],
)
def test_a_system_message_that_would_not_arrive_stops(template: str, says: str) -> None:
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = template
    check_chat_template("m", tokenizer)
    with pytest.raises(ModelError, match=says):
        check_chat_template("m", tokenizer, system="Be brief.")
