"""CONTRIBUTING's recipe for a model adapter, followed: its code is run as it is printed there."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from evalkit.results.reading import read_run, read_samples

pytestmark = [pytest.mark.model, pytest.mark.slow]

REPOSITORY = Path(__file__).resolve().parents[2]
TASKS = ("arc_easy", "bigbench_geometric_shapes", "humaneval")
# A run through `evalkit.evaluation.run.run`; killed after so many finished packs and batches.
RUN = """
import os, signal, sys
from recipe import bigrams
from evalkit.config.run_config import ModelConfig, RunConfig
from evalkit.evaluation.interrupt import StopSignals
from evalkit.evaluation.run import run
from evalkit.store.ledger import Ledger

commit, left = Ledger._commit, int(sys.argv[2])
def counted(self, *arguments):
    global left
    commit(self, *arguments)
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
Ledger._commit = counted
config = RunConfig(
    model=ModelConfig(name="bigrams"), task=tuple(sys.argv[3].split(",")),
    data=("samples",), limit=3, output=sys.argv[1], max_new_tokens=24,
    dry_run="--dry-run" in sys.argv, apply_chat_template="--chat" in sys.argv,
)
sys.stdout.write(run(config, ["run"], load=lambda config, say: bigrams()).report)
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the recipe's code as ``recipe.py``."""
    folder = tmp_path_factory.mktemp("recipe")
    (code,) = re.findall(
        r"```python\n(.*?)```", (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.DOTALL
    )
    (folder / "recipe.py").write_text(code)
    return folder


def run(
    recipe: Path, output: Path, *more: str, kill: int = 0, tasks: tuple[str, ...] = TASKS
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", RUN, str(output), str(kill), ",".join(tasks), *more],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{recipe}:{REPOSITORY}", "HF_HUB_OFFLINE": "1"},
        check=False,
    )


def folder_of(output: Path) -> Path:
    (journal,) = output.glob("*/*/journal.jsonl")
    return journal.parent


@pytest.fixture(scope="module")
def whole(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("whole")
    done = run(recipe, output)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("# bigrams\n")
    return folder_of(output)


def test_it_gives_a_whole_record(whole: Path) -> None:
    record, samples = read_run(whole), list(read_samples(whole))
    counted = {task: {value.n for value in of_task.values()} for task, of_task in record.metrics.items()}
    assert counted == {task: {3} for task in TASKS}
    assert all(value.value is not None for of_task in record.metrics.values() for value in of_task.values())
    assert (record.scorer.name, record.scorer.reason) == ("bigrams", "there is no other")
    by_task = {task: [sample for sample in samples if sample.task == task] for task in TASKS}
    assert all(sample.details["verdicts"][0]["isolation"] for sample in by_task["humaneval"])
    assert all(sample.generated and sample.logprobs for sample in by_task["bigbench_geometric_shapes"])
    assert all(score is not None and score < 0 for sample in by_task["arc_easy"] for score in sample.logprobs)


@pytest.mark.parametrize("kill", [2, 7])
def test_a_killed_run_goes_on_to_the_same_bits(recipe: Path, whole: Path, tmp_path: Path, kill: int) -> None:
    killed = run(recipe, tmp_path, kill=kill)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (folder_of(tmp_path) / "run.json").exists()
    assert run(recipe, tmp_path).returncode == 0
    assert (folder_of(tmp_path) / "journal.jsonl").read_bytes() == (whole / "journal.jsonl").read_bytes()
    assert [without_times(line) for line in lines(folder_of(tmp_path))] == [
        without_times(line) for line in lines(whole)
    ]
    assert len(json.loads((folder_of(tmp_path) / "run.json").read_text())["evalkit"]["sessions"]) == 2


def lines(folder: Path) -> list[str]:
    return (folder / "samples.jsonl").read_text(encoding="utf-8").splitlines()


def without_times(line: str) -> str:
    """A sample without how long its programs took."""
    return re.sub(r'"(cpu_)?seconds": [0-9.e-]+', "", line)


def test_what_it_cannot_do_is_said_before_anything_is_computed(recipe: Path, tmp_path: Path) -> None:
    refused = run(recipe, tmp_path, "--chat")
    assert "ModelError: bigrams: has no chat template, which this run needs" in refused.stderr
    dry = run(recipe, tmp_path, "--dry-run")
    assert "the model is not in this process" in dry.stdout, dry.stderr
    assert not list(tmp_path.glob("*/*/journal.jsonl"))
    scores_alone = (recipe / "recipe.py").read_text().replace("Capabilities(", "Capabilities(texts=False, ")
    (tmp_path / "recipe.py").write_text(scores_alone)
    refused = run(tmp_path, tmp_path / "out")
    assert "bigrams: writes no texts, which bigbench_geometric_shapes needs; leave that task out" in refused.stderr
    assert run(tmp_path, tmp_path / "out", tasks=("arc_easy",)).returncode == 0


def mypy(file: Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file", str(REPOSITORY / "pyproject.toml"), str(file)],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env={**os.environ, "MYPYPATH": str(REPOSITORY)},
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("", "", None),
        ("    def check_in_use(self)", "    def check(self)", 'missing following "Answerer" protocol member'),
        ("def work(self) -> Work:", "def work(self) -> int:", "def work(self) -> Work"),
        ("requests: Sequence[TextRequest], session: Session", "requests: Sequence[TextRequest]", "def texts"),
        ('"loader": "bigrams", "device": "cpu",', '"device": "cpu",', 'Missing key "loader"'),
        ("return Scores(scores, {", "return Scores(scores, {'lost': [], ", "lost"),
    ],
)
def test_mypy_sees_a_wrong_adapter(recipe: Path, tmp_path: Path, right: str, wrong: str, message: str | None) -> None:
    code = (recipe / "recipe.py").read_text()
    assert right in code
    (tmp_path / "adapter.py").write_text(code.replace(right, wrong, 1) if right else code)
    exit_code, said = mypy(tmp_path / "adapter.py")
    assert (exit_code == 0) == (message is None), said
    assert message is None or message in said
