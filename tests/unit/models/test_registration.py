"""What importing `evalkit.models` does: lm-eval knows the adapter, and nothing heavy is loaded."""

from __future__ import annotations

import subprocess
import sys

import pytest


def run(code: str) -> str:
    """Run code in a fresh interpreter; return its last line of output, or the test fails with its traceback."""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def test_registering_loads_no_torch() -> None:
    assert (
        run("import sys, evalkit.models; print('torch' in sys.modules, 'transformers' in sys.modules)") == "False False"
    )


@pytest.mark.model
def test_lm_eval_finds_the_adapter_and_its_own_models() -> None:
    code = (
        "import evalkit.models; from lm_eval.api.registry import get_model; "
        "print(get_model('openmind').__module__, get_model('hf').__name__, get_model('dummy').__name__)"
    )
    assert run(code) == "evalkit.models.openmind HFLM DummyLM"


@pytest.mark.model
def test_torch_does_not_load_device_plug_ins_by_itself() -> None:
    """It would end every command with a traceback where torch_npu is installed without CANN."""
    assert run("import os, evalkit; print(os.environ['TORCH_DEVICE_BACKEND_AUTOLOAD'])") == "0"


@pytest.mark.parametrize("package", ["torch", "transformers"])
def test_without_torch_or_transformers(package: str) -> None:
    code = f"""
import sys
sys.modules[{package!r}] = None
from evalkit.errors import ModelError
try:
    from evalkit.models.openmind import OpenMindLM
except ModelError as error:
    print(error)
"""
    message = run(code)
    assert message.startswith(f"running a model needs torch and transformers (import of {package} halted")
    assert "pip install -e '.[model]' in evalkit's folder brings them" in message
