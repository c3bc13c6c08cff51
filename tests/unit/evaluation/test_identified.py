"""What an answerer says of itself is refused before work is spent, where no reader would take a record that says so."""

from __future__ import annotations

from typing import Any

import pytest

from evalkit.answering import Capabilities, Work
from evalkit.config.run_config import ModelConfig, RunConfig
from evalkit.errors import EvalkitError, ModelError
from evalkit.evaluation.identified import identified

IDENTITY = {
    "model": {"model_fingerprint": "x", "loader": "y"}, "tokenizer": {}, "chat_template": None, "generation": {},
    "dtype": "float64",
}  # fmt: skip
DESCRIBED = {"loader": "y", "device": "cpu", "dtype": "float64", "versions": {}, "identity": IDENTITY}


class Said:
    """Says of itself what it is told to."""

    in_process = None

    def __init__(self, said: Any = DESCRIBED, options: tuple[str, ...] = ()) -> None:
        self.said = said
        self.capabilities = Capabilities(chat_template=False, options=options)

    def describe(self) -> Any:
        return self.said

    def work(self) -> Work:
        return Work("ours", "there is no other")

    def scores(self) -> None:
        """Is not asked here, as those below."""

    texts = check_in_use = apply_chat_template = scores


def test_one_that_agrees_with_itself_is_taken() -> None:
    more = {"device": "cuda:1", "device_name": "card", "vocabulary": 7, "model_fingerprint": "x"}
    identity = IDENTITY | {"tokenizer": {"vocabulary": 7}, "other": {"penalty": -1.5}}
    found = identified("m", Said(DESCRIBED | more | {"identity": identity}))  # type: ignore[arg-type]
    assert (found.facts.name, found.facts.vocabulary, found.work.scorer) == ("m", 7, "ours")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"dtype": "int4"}, "evalkit.model.dtype: 'int4', but evalkit.identity.dtype says 'float64'"),
        ({"loader": "other"}, "evalkit.model.loader: 'other'"),
        ({"model_fingerprint": "abc"}, "evalkit.model.model_fingerprint: 'abc'"),
        ({"revision": "main"}, "evalkit.model.revision: 'main'"),
        ({"architecture": "X"}, "evalkit.model.architecture: 'X'"),
        ({"max_length": 100}, "evalkit.model.max_length: 100"),
        ({"add_bos": True}, "evalkit.model.add_bos: True"),
        ({"chat_template_sha256": "abc"}, "evalkit.model.chat_template_sha256: 'abc'"),
        ({"identity": IDENTITY | {"chat_template": "abc"}}, "evalkit.identity.chat_template says 'abc'"),
        (
            {"identity": IDENTITY | {"model": {"loader": "z", "model_fingerprint": "x"}}},
            "evalkit.identity.model.loader says 'z'",
        ),
        ({"parameters": -1}, "evalkit.model.parameters: -1"),
        ({"generation": {"a": 1}}, "generation: unknown key 'a'"),
    ],
)
def test_one_that_contradicts_itself_is_refused_before_any_work(more: dict[str, Any], says: str) -> None:
    with pytest.raises(EvalkitError) as error:
        identified("m", Said(DESCRIBED | more))  # type: ignore[arg-type]
    assert says in str(error.value)
    assert str(error.value).startswith("Said.describe: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("here", [object(), "a model", False])
def test_the_model_in_this_process_is_one(here: object) -> None:
    wrong = Said()
    wrong.in_process = here  # type: ignore[assignment]
    with pytest.raises(ModelError, match=r"^Said\.in_process: expected a ScoredLM \(evalkit/models\) or None, found "):
        identified("m", wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("option", "flag"),
    [
        ({"dtype": "bfloat16"}, "--dtype"),
        ({"adapter": "lora"}, "--adapter"),
        ({"tokenizer": "other"}, "--tokenizer"),
        ({"audit_fraction": 0.5}, "--audit-fraction"),
        ({"max_length": 20}, "--max-length"),
        ({"scorer": "forest"}, "--scorer"),
        ({"add_bos": True}, "--add-bos"),
        ({"batch_size": "4"}, "--batch-size"),
    ],
)
def test_an_option_that_it_does_not_heed_is_refused(option: dict[str, Any], flag: str) -> None:
    from evalkit.evaluation.preflight import check_answerer

    config = RunConfig(model=ModelConfig(name="m", **option))
    with pytest.raises(ModelError, match=f"^m: takes no {flag}; leave it out$"):
        check_answerer(config, Said(), chat=False)  # type: ignore[arg-type]
    assert check_answerer(config, Said(options=tuple(option)), chat=False) == []  # type: ignore[arg-type]
    assert check_answerer(RunConfig(model=ModelConfig(name="m")), Said(), chat=False) == []  # type: ignore[arg-type]
