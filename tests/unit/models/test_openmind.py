"""The adapter: one model, loaded in every way, gives lm-eval's own numbers; every failure is one line."""

from __future__ import annotations

import json
import random
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import transformers
from lm_eval.api.instance import Instance
from lm_eval.api.registry import get_model
from lm_eval.models.huggingface import HFLM

from evalkit.config.run_config import ModelConfig
from evalkit.errors import ConfigError, ModelError
from evalkit.models import ascend, openmind, tiny
from evalkit.models.openmind import OpenMindLM
from evalkit.out_of_memory import is_out_of_memory

pytestmark = pytest.mark.model


def pairs(count: int) -> list[Instance]:
    """Return random log-likelihood requests, some of them with one-token continuations or trailing spaces."""
    draw = random.Random(5)
    words = ["the", "a", "capital", "of", "France", "is", "Paris", "東京", "1990", "x=1", "because,", "(B)", "\n"]
    text = lambda: " ".join(draw.choices(words, k=draw.randint(1, 12)))  # noqa: E731
    return [
        Instance("loglikelihood", {}, (text() + draw.choice(["", " "]), " " + draw.choice([text(), "Paris"])), index)
        for index in range(count)
    ]


def completions(*prompts: str) -> list[Instance]:
    options = {"until": ["\nclass"], "max_gen_toks": 12, "do_sample": False}
    return [Instance("generate_until", {}, (prompt, dict(options)), 0) for prompt in prompts]


def load(folder: Path | str, **options: Any) -> OpenMindLM:
    return OpenMindLM(str(folder), device="cpu", loader="transformers", **options)


def message(folder: Path | str, **options: Any) -> str:
    """Return the error's text, which must be one line."""
    with pytest.raises(ModelError) as caught:
        load(folder, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_scores_are_those_of_lm_evals_own_model(checkpoint_folder: Path) -> None:
    ours = load(checkpoint_folder, batch_size=3)
    theirs = HFLM(str(checkpoint_folder), device="cpu", dtype="float32", add_bos_token=False, batch_size=3)
    requests = pairs(40)
    for mine, reference in zip(
        ours.loglikelihood(requests, disable_tqdm=True), theirs.loglikelihood(requests, disable_tqdm=True), strict=True
    ):
        assert mine[0] == pytest.approx(reference[0], abs=1e-4)
        assert mine[1] == reference[1]
    prompts = completions("def add(a, b):\n", "Q: Who?\nA:", "x")
    assert ours.generate_until(prompts, disable_tqdm=True) == theirs.generate_until(prompts, disable_tqdm=True)


def test_batching_does_not_change_scores() -> None:
    requests = pairs(30)
    one = OpenMindLM(device="cpu", batch_size=1).loglikelihood(requests, disable_tqdm=True)
    many = OpenMindLM(device="cpu", batch_size=16).loglikelihood(requests, disable_tqdm=True)
    for (score, greedy), (other_score, other_greedy) in zip(one, many, strict=True):
        assert score == pytest.approx(other_score, abs=1e-4)
        assert greedy == other_greedy


def test_a_checkpoint_of_the_tiny_model_scores_like_the_built_in_one(checkpoint_folder: Path) -> None:
    requests = pairs(10)
    built_in = OpenMindLM(device="cpu").loglikelihood(requests, disable_tqdm=True)
    assert load(checkpoint_folder).loglikelihood(requests, disable_tqdm=True) == built_in


def test_lm_eval_builds_it_from_its_command_lines_strings(checkpoint_folder: Path) -> None:
    arguments = f"pretrained={checkpoint_folder},dtype=bfloat16,loader=transformers,add_bos_token=False,max_length=512"
    settings = {"batch_size": "2", "max_batch_size": None, "device": "cpu"}
    lm = get_model("openmind").create_from_arg_string(arguments, settings)
    assert isinstance(lm, OpenMindLM)
    assert (lm.model.dtype, lm.max_length, lm.batch_size) == (torch.bfloat16, 512, 2)
    assert issubclass(get_model("hf"), HFLM)


def test_the_record(checkpoint_folder: Path) -> None:
    record = load(checkpoint_folder).describe()
    assert json.loads(json.dumps(record)) == record
    expected = {
        "name": str(checkpoint_folder),
        "origin": "folder",
        "folder": str(checkpoint_folder),
        "revision": None,
        "loader": "transformers",
        "device": "cpu",
        "dtype": "float32",
        "quantization": None,
        "architecture": "MistralForCausalLM",
        "parameters": 360768,
        "max_length": 4096,
        "vocabulary": 2048,
        "add_bos": False,
        "has_chat_template": True,
        "trust_remote_code": False,
    }
    assert {key: record[key] for key in expected} == expected
    assert record["versions"]["transformers"] == transformers.__version__
    assert record["versions"]["torch"] == torch.__version__
    assert record["versions"]["cann"] is None
    built_in = OpenMindLM(device="cpu").describe()
    assert built_in["tokenizer_fingerprint"] == record["tokenizer_fingerprint"]
    assert (built_in["origin"], built_in["loader"], built_in["folder"]) == ("built-in", "built-in", None)
    assert built_in["model_fingerprint"] == tiny.fingerprint()


def test_what_lm_eval_records_needs_no_hub(checkpoint_folder: Path) -> None:
    info = load(checkpoint_folder).get_model_info()
    assert info == {
        "model_num_parameters": 360768,
        "model_dtype": "torch.float32",
        "model_revision": "",
        "model_sha": "",
    }


def test_no_bos_unless_asked_for() -> None:
    plain, with_bos = OpenMindLM(device="cpu"), OpenMindLM(device="cpu", add_bos_token=True)
    assert with_bos.tok_encode("Paris") == [0, *plain.tok_encode("Paris")]
    assert with_bos.describe()["add_bos"] is True


def test_a_tokenizer_without_bos_cannot_add_one(own_checkpoint: Path) -> None:
    config = json.loads((own_checkpoint / "tokenizer_config.json").read_text())
    del config["bos_token"]
    (own_checkpoint / "tokenizer_config.json").write_text(json.dumps(config))
    assert "its tokenizer adds no BOS token; leave --add-bos" in message(own_checkpoint, add_bos_token=True)
    load(own_checkpoint)


def test_auto_batch_size_on_the_cpu_is_bounded_by_memory(checkpoint_folder: Path) -> None:
    small = load(checkpoint_folder, batch_size="auto")
    assert small.batch_size == 64
    small.tokenizer = range(3_000_000)  # a vocabulary so large that two rows of scores would not fit
    assert small._cpu_batch_size() == 1


def test_nothing_but_results_goes_to_standard_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lm = OpenMindLM(device="cpu", batch_size=4)
    forward = lm.model.forward
    monkeypatch.setattr(lm.model, "forward", lambda *a, **k: (print("noise"), forward(*a, **k))[1])  # noqa: T201
    lm.loglikelihood(pairs(2), disable_tqdm=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "noise" in captured.err


# --- loading -------------------------------------------------------------------------------------------------------


def test_tied_weights_are_not_missing(tmp_path: Path, make_checkpoint: Callable[..., Path]) -> None:
    load(make_checkpoint(tmp_path, tied=True))


def test_sharded_and_pickled_weights(tmp_path: Path, make_checkpoint: Callable[..., Path]) -> None:
    sharded = load(make_checkpoint(tmp_path / "shards", shards=True)).loglikelihood(pairs(3), disable_tqdm=True)
    assert sharded == OpenMindLM(device="cpu").loglikelihood(pairs(3), disable_tqdm=True)
    folder = make_checkpoint(tmp_path / "pickled")
    torch.save(tiny.model(torch.float32).state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert load(folder).loglikelihood(pairs(3), disable_tqdm=True) == sharded


def test_another_tokenizer_by_folder(own_checkpoint: Path, checkpoint_folder: Path) -> None:
    (own_checkpoint / "tokenizer.json").unlink()
    assert "name its folder or id with --tokenizer" in message(own_checkpoint)
    assert load(own_checkpoint, tokenizer=str(checkpoint_folder)).tok_encode("Paris")


def test_weights_that_the_checkpoint_lacks_are_not_made_up(own_checkpoint: Path) -> None:
    """transformers would fill a third layer with random numbers and only warn."""
    config = json.loads((own_checkpoint / "config.json").read_text())
    config["num_hidden_layers"] = 3
    config.pop("layer_types", None)
    (own_checkpoint / "config.json").write_text(json.dumps(config))
    text = message(own_checkpoint)
    assert text.startswith(f"{own_checkpoint}: 9 weights are not in the checkpoint, first model.layers.2.")


def test_weights_of_another_shape(own_checkpoint: Path) -> None:
    config = json.loads((own_checkpoint / "config.json").read_text())
    (own_checkpoint / "config.json").write_text(json.dumps({**config, "intermediate_size": 100}))
    assert message(own_checkpoint).startswith(f"{own_checkpoint}: the model cannot be loaded: ")


def test_unknown_architecture(own_checkpoint: Path) -> None:
    (own_checkpoint / "config.json").write_text('{"model_type": "hermes9"}')
    assert message(own_checkpoint).startswith(
        f"{own_checkpoint}: transformers {transformers.__version__} does not know the model type 'hermes9'; install"
    )


def test_bad_tokenizer_file(own_checkpoint: Path) -> None:
    (own_checkpoint / "tokenizer.json").write_text('{"version": "1.0", "model": 3}')
    assert message(own_checkpoint).startswith(f"{own_checkpoint}: the tokenizer cannot be loaded: ")


def test_code_of_the_checkpoint_runs_only_when_trusted(own_checkpoint: Path, tmp_path: Path) -> None:
    config = json.loads((own_checkpoint / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.C", "AutoModelForCausalLM": "own.M"}}
    (own_checkpoint / "config.json").write_text(json.dumps(config))
    (own_checkpoint / "own.py").write_text(
        "from transformers import MistralConfig, MistralForCausalLM\n"
        f"open({str(tmp_path / 'ran')!r}, 'w').close()\n"
        "class C(MistralConfig):\n    model_type = 'own'\n"
        "class M(MistralForCausalLM):\n    config_class = C\n"
    )
    text = message(own_checkpoint)
    assert (
        "needs Python code from the checkpoint, which runs with your rights; read it, then add --trust-remote" in text
    )
    assert not (tmp_path / "ran").exists()
    lm = load(own_checkpoint, trust_remote_code=True)
    assert (tmp_path / "ran").exists()
    assert lm.describe()["trust_remote_code"] is True


def test_a_misspelled_model_argument_is_named(checkpoint_folder: Path) -> None:
    text = message(checkpoint_folder, atn_implementation="eager")
    assert text == "unknown model argument 'atn_implementation'; did you mean 'attn_implementation'?"
    load(checkpoint_folder, attn_implementation="eager")


def test_arguments_of_lm_eval_are_a_model_config() -> None:
    """lm-eval makes numbers of digits and hands on dtypes as programs have them."""
    found, others = openmind.from_lm_eval(
        "m",
        {
            "dtype": torch.float16, "revision": 7, "batch_size": "auto:4", "add_bos_token": True, "max_length": 9,
            "max_batch_size": 3, "attn_implementation": "eager",
        },
    )  # fmt: skip
    assert found == ModelConfig(name="m", dtype="float16", revision="7", add_bos=True, max_length=9)
    assert others == {"max_batch_size": 3, "attn_implementation": "eager"}
    assert openmind.from_lm_eval("m", {"dtype": "torch.bfloat16", "batch_size": 8})[0] == ModelConfig(
        name="m", dtype="bfloat16", batch_size="8"
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"max_length": "many"}, "max_length: expected an integer, found 'many'"),
        ({"loader": "transformer"}, "loader: 'transformer' is not one of auto, openmind, transformers; did you mean"),
        ({"device": "npu:x"}, "device: 'npu:x' is not one of auto, npu, npu:3, cuda, cuda:1, cpu"),
        ({"dtype": "int8"}, "dtype: 'int8' is not one of auto, float64, float32"),
        ({"batch_size": 0}, "batch_size: '0' is neither 'auto' nor a number of rows"),
        ({"max_lenght": 9}, "the built-in model 'tiny' takes no argument 'max_lenght'"),
    ],
)
def test_a_wrong_argument_is_one_line(arguments: dict[str, Any], expected: str) -> None:
    with pytest.raises((ConfigError, ModelError), match="^" + re.escape(expected)):
        OpenMindLM("tiny", **arguments)


def test_arguments_of_other_adapters_are_refused(checkpoint_folder: Path) -> None:
    assert message(checkpoint_folder, peft="x") == (
        "model argument 'peft' is one of lm-eval's own adapter; use `--model hf` for it"
    )
    assert message("tiny", variant="x") == "the built-in model 'tiny' takes no argument 'variant'"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("NPU out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"), True),
        (RuntimeError("shape mismatch"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_out_of_memory_is_recognised_on_every_backend(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


def test_out_of_memory_while_loading(checkpoint_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(transformers.MistralForCausalLM, "to", fail)
    assert message(checkpoint_folder) == (
        f"{checkpoint_folder}: out of memory on cpu while loading 0.0 GB of weights; stop other programs or raise "
        "this process's limit (ulimit, container, job), or use --dtype bfloat16"
    )


def test_out_of_memory_while_loading_the_tokenizer(checkpoint_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("evalkit.models.loading._tokenizer", fail)
    assert message(checkpoint_folder) == (
        f"{checkpoint_folder}: out of memory on cpu while loading the tokenizer; stop other programs or raise this "
        "process's limit (ulimit, container, job)"
    )


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("loglikelihood", "out of memory on cpu for one row of .* use a smaller dtype"),
        ("generate_until", "out of memory on cpu for one prompt of .* use a smaller dtype"),
    ],
)
def test_out_of_memory_while_running(method: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lm = OpenMindLM(device="cpu", batch_size=32)

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("NPU out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(lm.model, "forward", fail)
    with pytest.raises(ModelError, match=expected):
        getattr(lm, method)(pairs(2) if method == "loglikelihood" else completions("x"), disable_tqdm=True)


def test_other_errors_while_running_are_bugs_and_stay_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    lm = OpenMindLM(device="cpu", batch_size=32)
    monkeypatch.setattr(lm.model, "forward", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        lm.loglikelihood(pairs(2), disable_tqdm=True)


def test_quantised_checkpoints_are_placed_while_loading(own_checkpoint: Path) -> None:
    """GPTQ and AWQ weights cannot be moved or cast afterwards, and their own dtype is kept."""
    config = json.loads((own_checkpoint / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "gptq", "bits": 4}
    (own_checkpoint / "config.json").write_text(json.dumps(config))
    seen: dict[str, Any] = {}

    class Auto:
        @staticmethod
        def from_pretrained(folder: str, **options: Any) -> tuple[Any, Any]:
            seen.update(options, folder=folder)
            return torch.nn.Linear(1, 1), {"missing_keys": ["qweight"], "unexpected_keys": []}

    for chosen in (True, False):
        openmind.loading.load_model(
            openmind.Checkpoint(name="q", folder=own_checkpoint, origin="folder"),
            Auto,
            device=torch.device("cuda", 1),
            dtype=torch.float16,
            dtype_is_auto=chosen,
            trust_remote_code=False,
            options={},
        )
        assert seen["device_map"] == {"": "cuda:1"}
        assert seen[openmind.loading.DTYPE_ARGUMENT] == ("auto" if chosen else torch.float16)


def test_what_lm_evals_wrapper_raises_is_one_line(own_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lm_eval.models.huggingface import HFLM

    def fails(*_: Any, **__: Any) -> None:
        raise KeyError("vocab_size\nmore")

    monkeypatch.setattr(HFLM, "__init__", fails)
    assert "cannot take this model (KeyError: 'vocab_size" in message(own_checkpoint)


def test_a_quantisation_without_its_package_names_the_package(own_checkpoint: Path) -> None:
    config = json.loads((own_checkpoint / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "gptq", "bits": 4, "group_size": 128}
    (own_checkpoint / "config.json").write_text(json.dumps(config))
    assert "optimum" in message(own_checkpoint)


# --- chat ----------------------------------------------------------------------------------------------------------


def test_chat_template(checkpoint_folder: Path, tmp_path: Path, make_checkpoint: Callable[..., Path]) -> None:
    history = [{"role": "user", "content": "Hi"}]
    expected = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    assert load(checkpoint_folder).apply_chat_template(history) == expected
    bare = load(make_checkpoint(tmp_path / "bare", chat_template=False))
    with pytest.raises(ModelError, match="the tokenizer has no chat template; add one to its tok"):
        bare.apply_chat_template(history)
    assert bare.loglikelihood(pairs(2), disable_tqdm=True)  # no template is needed for scoring


# --- openmind, torch_npu -------------------------------------------------------------------------------------------

FAKE_OPENMIND = """
import sys, transformers
from transformers import PreTrainedModel, AutoModelForCausalLM, AutoTokenizer
original = PreTrainedModel.from_pretrained.__func__
calls = []
@classmethod
def from_pretrained(cls, *args, **kwargs):
    calls.append(cls.__name__)
    return original(cls, *args, **kwargs)
PreTrainedModel.from_pretrained = from_pretrained
sys.tracebacklimit = 0
"""

FAKE_HUB = """
import requests
ENDPOINT, OM_HUB_CACHE = "https://hub.example", "/cache"
class OmHubHTTPError(requests.HTTPError): pass
class GatedRepoError(OmHubHTTPError): pass
class RevisionNotFoundError(OmHubHTTPError): pass
class RepositoryNotFoundError(OmHubHTTPError): pass
class LocalEntryNotFoundError(OmHubHTTPError, FileNotFoundError, ValueError): pass
class OMValidationError(ValueError): pass
answers, calls = [], []
def snapshot_download(name, *, revision, ignore_patterns, local_files_only):
    calls.append((name, revision, local_files_only))
    answer = answers.pop(0)
    if isinstance(answer, Exception):
        raise answer
    return answer
"""


@pytest.fixture
def fake_openmind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An openmind that patches as the real one does, and a hub that answers as told."""
    (tmp_path / "openmind.py").write_text(FAKE_OPENMIND)
    (tmp_path / "openmind_hub.py").write_text(FAKE_HUB)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    for name in ("openmind", "openmind_hub"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    ascend.import_openmind.cache_clear()
    yield  # type: ignore[misc]
    ascend.import_openmind.cache_clear()
    for name in ("openmind", "openmind_hub"):
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("fake_openmind")
def test_loading_through_openmind_leaves_transformers_as_it_was(checkpoint_folder: Path) -> None:
    before = transformers.PreTrainedModel.__dict__["from_pretrained"]
    lm = OpenMindLM(str(checkpoint_folder), device="cpu")  # `auto` finds openmind
    assert lm.describe()["loader"] == "openmind"
    assert sys.modules["openmind"].calls == ["MistralForCausalLM"]
    assert transformers.PreTrainedModel.__dict__["from_pretrained"] is before
    assert not hasattr(sys, "tracebacklimit")
    load(checkpoint_folder)
    assert sys.modules["openmind"].calls == ["MistralForCausalLM"]


def hub() -> ModuleType:
    return ascend.importlib.import_module("openmind_hub")


@pytest.mark.usefixtures("fake_openmind")
def test_an_id_comes_from_the_openmind_hub(checkpoint_folder: Path) -> None:
    hub().answers.append(str(checkpoint_folder))
    lm = OpenMindLM("owner/name", device="cpu", revision="v1")
    assert hub().calls == [("owner/name", "v1", False)]
    record = lm.describe()
    assert (record["origin"], record["revision"], record["folder"]) == ("openmind hub", checkpoint_folder.name, None)


@pytest.mark.usefixtures("fake_openmind")
def test_without_network_the_openmind_cache_is_used(checkpoint_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub().answers.extend([OSError("connection refused"), str(checkpoint_folder)])
    OpenMindLM("owner/name", device="cpu")
    assert [offline for _, _, offline in hub().calls] == [False, True]
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hub().answers.append(str(checkpoint_folder))
    OpenMindLM("owner/name", device="cpu")
    assert hub().calls[-1][2] is True


@pytest.mark.usefixtures("fake_openmind")
@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("RepositoryNotFoundError", "no such folder here and no such model on the openMind hub https://hub.example;"),
        ("OMValidationError", "no such folder here and no such model on the openMind hub https://hub.example;"),
        ("GatedRepoError", "access to this openMind repository must be granted on its page"),
        ("RevisionNotFoundError", "the repository has no revision 'v9'; check its branches"),
        ("OmHubHTTPError", "download from the openMind hub https://hub.example failed: OmHubHTTPError: text"),
    ],
)
def test_refusals_of_the_openmind_hub(error: str, expected: str) -> None:
    exception = getattr(hub(), error)("text")
    exception.response = object()  # the hub did answer
    hub().answers.append(exception)
    with pytest.raises(ModelError) as caught:
        OpenMindLM("owner/name", device="cpu", revision="v9")
    assert str(caught.value).startswith(f"owner/name: {expected}")


@pytest.mark.usefixtures("fake_openmind")
def test_neither_network_nor_cache() -> None:
    hub().answers.extend([OSError("refused"), hub().LocalEntryNotFoundError("not cached")])
    with pytest.raises(ModelError, match=r"not in the cache /cache, and the openMind hub .* cannot be reached"):
        OpenMindLM("owner/name", device="cpu")


@pytest.mark.usefixtures("fake_openmind")
def test_an_openmind_that_cannot_be_imported(tmp_path: Path, checkpoint_folder: Path) -> None:
    (tmp_path / "openmind.py").write_text(FAKE_OPENMIND + "raise AttributeError('LLAMA_ATTENTION_CLASSES')")
    before = transformers.PreTrainedModel.__dict__["from_pretrained"]
    with pytest.raises(ModelError) as caught:
        OpenMindLM(str(checkpoint_folder), device="cpu")
    assert f"cannot be imported beside transformers {transformers.__version__} (AttributeError: LLAMA" in str(
        caught.value
    )
    assert transformers.PreTrainedModel.__dict__["from_pretrained"] is before
    assert not hasattr(sys, "tracebacklimit")


def test_loader_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ascend, "_is_installed", lambda _: False)
    assert ascend.choose_loader("auto") == "transformers"
    with pytest.raises(ModelError, match="loader 'openmind': openmind is not installed; constraints-"):
        ascend.choose_loader("openmind")
    monkeypatch.setattr(ascend, "_is_installed", lambda _: True)
    assert ascend.choose_loader("auto") == "openmind"


@pytest.fixture
def torch_npu_without_cann(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch_npu as it is on a machine without CANN."""
    (tmp_path / "torch_npu").mkdir()
    (tmp_path / "torch_npu" / "__init__.py").write_text(
        "raise ImportError('libhccl.so: cannot open shared object file: No such file or directory')"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield  # type: ignore[misc]
    sys.modules.pop("torch_npu", None)


@pytest.mark.usefixtures("torch_npu_without_cann")
@pytest.mark.parametrize("device", ["auto", "npu", "npu:1"])
def test_torch_npu_without_cann(device: str) -> None:
    with pytest.raises(ModelError) as caught:
        OpenMindLM(device=device)
    assert "is installed but cannot be loaded (ImportError: libhccl.so: cannot open shared object file" in str(
        caught.value
    )
    assert "source /usr/local/Ascend/ascend-toolkit/set_env.sh), or use --device cpu" in str(caught.value)


@pytest.mark.usefixtures("torch_npu_without_cann")
def test_torch_npu_without_cann_does_not_disturb_the_cpu(checkpoint_folder: Path) -> None:
    """transformers itself would fail here: it imports torch_npu as soon as it is installed."""
    transformers.utils.import_utils.is_torch_npu_available.cache_clear()
    lm = load(checkpoint_folder)
    assert lm.generate_until(completions("x"), disable_tqdm=True)
