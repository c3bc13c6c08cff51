"""The adapter on a device called ``npu``: it is found, filled, and gives the CPU's numbers.

The device is tests/simulated_npu, in a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.model


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT / "tests" / "simulated_npu"), str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env={**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module", autouse=True)
def _needs_the_hooks() -> None:
    import torch.utils.backend_registration as registration

    if not hasattr(registration, "_setup_privateuseone_for_python_backend"):
        pytest.skip("this torch has no hooks for devices written in Python")


COMPARISON = """
import io, json, sys
import torch
from lm_eval.api.instance import Instance
from evalkit.config.run_config import InferConfig, ModelConfig
from evalkit.evaluation.infer import infer
from evalkit.models.openmind import OpenMindLM

folder = sys.argv[1]
OpenMindLM(device="cpu").model.save_pretrained(folder)
OpenMindLM(device="cpu").tokenizer.save_pretrained(folder)

pairs = [
    ("Question: Who?\\nAnswer:", " Nobody"), ("The capital of France is", " Paris"), ("The capital of France is", " x"),
    ("A long context, " * 40, "and its end"), ("x ", "y"), ("", "from nothing"),
]
scoring = [Instance("loglikelihood", {}, pair, 0) for pair in pairs]
until = {"until": ["\\nclass"], "max_gen_toks": 12, "do_sample": False}
writing = [Instance("generate_until", {}, (prompt, dict(until)), 0) for prompt in ("def f(x):", "Q: Who?\\nA:", "z")]

def answers(pretrained, device, **options):
    lm = OpenMindLM(pretrained, device=device, **{"dtype": "float32", "batch_size": 2, **options})
    devices = sorted({str(tensor.device) for tensor in [*lm.model.parameters(), *lm.model.buffers()]})
    output = io.StringIO()
    asked = ModelConfig(name=pretrained, device=device, dtype="float32")
    infer(asked, InferConfig(text="Hi", max_new_tokens=6), output=output, notes=io.StringIO())
    return {
        "device": str(lm.device), "on": devices, "dtype": str(lm.model.dtype), "name": lm.describe()["device_name"],
        "scores": lm.loglikelihood(scoring, disable_tqdm=True),
        "texts": lm.generate_until(writing, disable_tqdm=True),
        "answer": output.getvalue(),
    }

result = {
    "cpu": answers("tiny", "cpu"), "auto": answers("tiny", "auto"), "npu": answers("tiny", "npu"),
    "npu:1": answers(folder, "npu:1"), "half": answers("tiny", "npu", dtype="auto"),
}
import torch_npu
torch_npu.log.clear()
result["searched"] = answers("tiny", "npu", batch_size="auto", max_batch_size=4, max_length=512)
# A setting that only lm-eval's own loop knows, which searches for a batch size.
searching = OpenMindLM("tiny", device="npu", dtype="float32", batch_size="auto", max_batch_size=4, max_length=512)
settings = {**until, "repetition_penalty": 1.0}
asked = [Instance("generate_until", {}, (request.args[0], dict(settings)), 0) for request in writing]
result["transformers_loop"] = searching.generate_until(asked, disable_tqdm=True)
result["log"] = torch_npu.log
print("RESULT" + json.dumps(result))
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = str(tmp_path_factory.mktemp("checkpoint"))
    done = run(COMPARISON.replace("sys.argv[1]", repr(folder)))
    assert done.returncode == 0, done.stderr[-3000:]
    result: dict[str, Any] = json.loads(done.stdout.split("RESULT")[1])
    return result


@pytest.mark.parametrize(("asked", "device"), [("auto", "npu:0"), ("npu", "npu:0"), ("npu:1", "npu:1")])
def test_the_model_is_on_the_npu(answers: dict[str, Any], asked: str, device: str) -> None:
    assert answers[asked]["device"] == device
    assert answers[asked]["on"] == [device]
    assert answers[asked]["name"] == f"Simulated NPU {device[-1]}"


@pytest.mark.parametrize("asked", ["auto", "npu", "npu:1", "searched"])
def test_results_are_the_cpus(answers: dict[str, Any], asked: str) -> None:
    for (score, greedy), (expected, expected_greedy) in zip(
        answers[asked]["scores"], answers["cpu"]["scores"], strict=True
    ):
        assert score == pytest.approx(expected, abs=1e-4)
        assert greedy == expected_greedy
    assert answers[asked]["texts"] == answers["cpu"]["texts"]
    assert answers[asked]["answer"] == answers["cpu"]["answer"]


def test_dtype_auto_is_bfloat16_on_an_npu_that_has_it(answers: dict[str, Any]) -> None:
    assert answers["half"]["dtype"] == "torch.bfloat16"
    for (score, _), (expected, _) in zip(answers["half"]["scores"], answers["cpu"]["scores"], strict=True):
        assert score == pytest.approx(expected, rel=0.02, abs=0.2)


def test_the_loop_of_transformers_writes_the_same_texts(answers: dict[str, Any]) -> None:
    assert answers["transformers_loop"] == answers["cpu"]["texts"]
    assert "set_device" in answers["log"]


CHOICES = """
import json, os, sys
from evalkit.errors import ModelError
from evalkit.models.openmind import OpenMindLM

def outcome(device, environment):
    os.environ.update(environment)
    try:
        return str(OpenMindLM(device=device).device)
    except ModelError as error:
        return str(error)
    finally:
        for name in environment:
            del os.environ[name]

print("RESULT" + json.dumps([outcome(*case) for case in CASES]))
"""


def outcomes(cases: list[tuple[str, dict[str, str]]], **environment: str) -> list[str]:
    """Return, for each device asked for under each environment, the device chosen or the error's message."""
    done = run(CHOICES.replace("CASES", repr(cases)), **environment)
    assert done.returncode == 0, done.stderr[-3000:]
    result: list[str] = json.loads(done.stdout.split("RESULT")[1])
    return result


def test_which_npus_there_are() -> None:
    assert outcomes(
        [
            ("npu:3", {"ASCEND_RT_VISIBLE_DEVICES": "4,5"}),
            ("npu:1", {"ASCEND_RT_VISIBLE_DEVICES": "6,7"}),
            ("auto", {"SIMULATED_NPUS": "0"}),
            ("npu", {"SIMULATED_NPUS": "0"}),
        ]
    ) == [
        "device 'npu:3': only 2 NPU devices are visible (ASCEND_RT_VISIBLE_DEVICES=4,5); use an index from 0 to 1",
        "npu:1",
        "cpu",
        "device 'npu': no NPU is visible to this process; check `npu-smi info`, or use --device cpu",
    ]


def test_no_cann() -> None:
    auto, npu, again, cpu = outcomes([("auto", {}), ("npu", {}), ("npu:1", {}), ("cpu", {})], SIMULATED_NPUS="broken")
    assert auto == npu == again
    assert "cannot be loaded (ImportError: libhccl.so: cannot open shared object file" in auto
    assert "set up CANN in this shell (source " in auto
    assert cpu == "cpu"
