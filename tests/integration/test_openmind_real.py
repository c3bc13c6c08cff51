"""The adapter with the real openmind and openmind-hub, where they are installed (`make test-openmind`).

tests/unit/models runs there too. What is here, only the real packages can show.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(
        find_spec("openmind") is None or find_spec("openmind_hub") is None,
        reason="openmind and openmind-hub are not installed; `make test-openmind` makes an environment with them",
    ),
]


def run(code: str, **environment: str) -> Any:
    """Run code in a process of its own, since openmind changes its process; return what it assigns to ``result``."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"import json\n{code}\nprint('RESULT' + json.dumps(result))"],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.split("RESULT")[1])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("checkpoint"))
    run(
        "from evalkit.models.openmind import OpenMindLM\n"
        "lm = OpenMindLM(device='cpu')\n"
        f"lm.model.save_pretrained({folder!r})\nlm.tokenizer.save_pretrained({folder!r})\n"
        "result = None"
    )
    return folder


COMPARISON = """
import sys
import transformers
import transformers.dynamic_module_utils, transformers.utils.logging
from lm_eval.api.instance import Instance
from evalkit.models.ascend import import_openmind
from evalkit.models.openmind import OpenMindLM

def state():
    holders = (transformers.PreTrainedModel, transformers.PreTrainedTokenizerBase,
               transformers.dynamic_module_utils, transformers.utils.logging)
    return [{name: id(value) for name, value in vars(holder).items() if name[:2] != "__"} for holder in holders]

pairs = [("Question: Who?\\nAnswer:", " Me"), ("Question: Who?\\nAnswer:", " Nobody, as usual")]
requests = [Instance("loglikelihood", {}, pair, 0) for pair in pairs]
until = {"until": ["\\nclass"], "max_gen_toks": 10, "do_sample": False}
prompts = [Instance("generate_until", {}, (prompt, dict(until)), 0) for prompt in ("def f(x):", "Q: Who?")]

def answers(**options):
    lm = OpenMindLM(FOLDER, device="cpu", batch_size=2, **options)
    return {"loader": lm.loader, "versions": lm.describe()["versions"],
            "scores": lm.loglikelihood(requests, disable_tqdm=True),
            "texts": lm.generate_until(prompts, disable_tqdm=True)}

before = state()
result = {"auto": answers(), "openmind": answers(loader="openmind")}
result["untouched"] = state() == before and not hasattr(sys, "tracebacklimit")
result["patches"] = sorted({patch.name for patch in import_openmind().patches})
result["transformers"] = answers(loader="transformers")
"""


@pytest.fixture(scope="module")
def answers(checkpoint: str) -> dict[str, Any]:
    result: dict[str, Any] = run(COMPARISON.replace("FOLDER", repr(checkpoint)))
    return result


def test_auto_is_openmind_where_it_is_installed(answers: dict[str, Any]) -> None:
    assert answers["auto"]["loader"] == "openmind"
    assert answers["auto"]["versions"]["openmind"] is not None
    assert answers["auto"]["versions"]["openmind_hub"] is not None


def test_both_loaders_give_the_same_answers(answers: dict[str, Any]) -> None:
    for key in ("scores", "texts"):
        assert answers["openmind"][key] == answers["auto"][key] == answers["transformers"][key]


def test_openminds_changes_are_found_and_contained(answers: dict[str, Any]) -> None:
    assert "from_pretrained" in answers["patches"]
    assert answers["untouched"]


ERROR = """
from evalkit.errors import ModelError
from evalkit.models.openmind import OpenMindLM
try:
    OpenMindLM(NAME, device="cpu", loader="openmind")
except ModelError as error:
    result = str(error)
"""


def test_without_network_the_error_names_the_hub() -> None:
    # Nothing listens on port 9; the host's name keeps openmind-hub from refusing it unasked.
    message = run(ERROR.replace("NAME", "'owner/no-such-model'"), OPENMIND_HUB_ENDPOINT="https://127.0.0.1:9")
    assert message.startswith("owner/no-such-model: no such folder here and not in the cache ")
    assert "the openMind hub https://127.0.0.1:9 cannot be reached; give a local folder" in message
    assert "\n" not in message


def test_a_cached_snapshot_is_used_without_network(checkpoint: str, tmp_path: Path) -> None:
    """In the layout that openmind-hub's own downloads have."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "openmind" / "hub" / "models--owner--name"
    (repository / "snapshots").mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    (repository / "snapshots" / commit).symlink_to(checkpoint)
    code = """
from evalkit.models.openmind import OpenMindLM
record = OpenMindLM("owner/name", device="cpu", loader="openmind").describe()
result = [record["origin"], record["revision"], record["loader"]]
"""
    environment = {"XDG_CACHE_HOME": str(tmp_path), "OPENMIND_HUB_ENDPOINT": "https://127.0.0.1:9"}
    assert run(code, **environment) == ["openmind hub", commit, "openmind"]
    assert run(code, **environment, HF_HUB_OFFLINE="1") == ["openmind hub", commit, "openmind"]


def test_an_endpoint_without_https_is_refused_in_one_line() -> None:
    message = run(ERROR.replace("NAME", "'owner/name'"), OPENMIND_HUB_ENDPOINT="http://127.0.0.1:9")
    assert message.startswith("openmind_hub cannot be imported: ValueError: Insecure scheme detected")
