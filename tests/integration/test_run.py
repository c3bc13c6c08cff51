"""The main job, end to end: the built-in model's report, and scores that are those of lm-eval's own `hf` model."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from evalkit.answering import Scores
from evalkit.cli import main
from evalkit.config.run_config import ModelConfig
from evalkit.config.suites import load_suites, load_tasks
from evalkit.data import DataSource
from evalkit.evaluation.verify import log_likelihood_tasks
from evalkit.models import load as load_module
from evalkit.paths import configs_dir
from evalkit.records.model import MetricValue
from evalkit.results.reading import read_run, read_samples
from evalkit.scoring.packs import Scored
from tests.support import protocol
from tests.support.checkpoints import write_random_mistral
from tests.support.once import once

pytestmark = [pytest.mark.model, pytest.mark.slow]

GOLDEN = Path(__file__).parents[1] / "golden" / "tiny_report.md"
SUITES = ("gpt4all", "agieval", "bigbench", "truthfulqa")
# Both kinds of requests, one and two contexts, list and single answers.
TASKS = (
    "arc_easy",
    "boolq",
    "hellaswag",
    "winogrande",
    "agieval_sat_en",
    "bigbench_snarks",
    "bigbench_geometric_shapes",
    "truthfulqa_mc",
)


def evalkit(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="evalkit")


def only_run(output: Path) -> Path:
    (path,) = output.glob("*/*/run.json")
    return path.parent


def masked(report: str) -> str:
    """A report without what differs between machines and runs."""
    return re.sub(r"^- (Device|Scorer|Versions|Date|Duration): .*$", r"- \1: ...", report, flags=re.MULTILINE)


# The built-in model


@dataclass(frozen=True)
class Finished:
    """What `evalkit run` said, and where it put its results."""

    exit_code: int
    stdout: str
    stderr: str
    output: Path


@pytest.fixture(scope="module")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    def make(folder: Path) -> None:
        suites = [argument for suite in SUITES for argument in ("--suite", suite)]
        result = evalkit("run", "--model", "tiny", *suites, "--output", folder / "results")
        said = {"exit_code": result.exit_code, "stdout": result.stdout, "stderr": result.stderr}
        (folder / "said.json").write_text(json.dumps(said), encoding="utf-8")

    folder = once(tmp_path_factory, "tiny-run", make)
    return Finished(**json.loads((folder / "said.json").read_text(encoding="utf-8")), output=folder / "results")


def test_the_report_of_the_built_in_model(tiny_run: Finished) -> None:
    result, output = tiny_run, tiny_run.output
    assert result.exit_code == 0, result.stderr
    if os.environ.get("EVALKIT_UPDATE_GOLDEN"):
        GOLDEN.write_text(masked(result.stdout), encoding="utf-8")
    assert masked(result.stdout) == GOLDEN.read_text(encoding="utf-8")
    folder = only_run(output)
    assert (folder / "report.md").read_text(encoding="utf-8").rstrip("\n") == result.stdout.rstrip("\n")
    assert result.stderr.rstrip("\n").endswith(f"evalkit: results in {folder}")
    assert folder.parent.name == "tiny"
    assert {"report.md", "run.json", "samples.jsonl"} <= {path.name for path in folder.iterdir()}


def test_report_rebuilds_it(tiny_run: Finished) -> None:
    result, output = tiny_run, tiny_run.output
    rebuilt = evalkit("report", only_run(output))
    assert (rebuilt.exit_code, rebuilt.stderr) == (0, "")
    assert rebuilt.stdout == result.stdout


def test_the_record_has_lm_evals_schema_inside(tiny_run: Finished) -> None:
    document = json.loads((only_run(tiny_run.output) / "run.json").read_text(encoding="utf-8"))
    assert {"results", "configs", "versions", "n-shot", "higher_is_better", "n-samples", "config"} <= set(document)
    tasks = [task for suite in SUITES for task in load_suites()[suite].tasks]
    assert set(document["results"]) >= {task.name for task in tasks}
    for task in tasks:
        assert document["versions"][task.name] == task.version
        assert set(document["evalkit"]["tasks"][task.name]) == set(task.metrics)


def test_values_and_standard_errors_are_lm_evals(tiny_run: Finished) -> None:
    record = read_run(only_run(tiny_run.output))
    for task, metrics in record.metrics.items():
        theirs = record.lm_eval["results"][task]
        for metric, value in metrics.items():
            assert value.failed == 0
            assert value.value == pytest.approx(theirs[f"{metric},none"], abs=1e-12)
            assert value.stderr == pytest.approx(theirs[f"{metric}_stderr,none"], abs=1e-12)


def test_the_record_says_what_was_run_on_what(tiny_run: Finished) -> None:
    record = read_run(only_run(tiny_run.output))
    assert record.protocol == "nous-2023"
    assert record.suites == SUITES
    assert record.model.name == "tiny"
    assert record.model.dtype == "float32"
    assert {entry.verdict for entry in record.data.values()} == {"samples"}
    assert set(record.data) == set(log_likelihood_tasks())
    assert record.environment.versions["lm_eval"]


def test_samples_hold_requests_and_metrics_of_the_oracle(tiny_run: Finished) -> None:
    """Oracle: the metrics recomputed from the recorded log-probabilities, by the slow second implementation."""
    from evalkit.data import load_documents
    from evalkit.data.manifest import find_dataset

    counts: dict[str, int] = {}
    docs = {
        name: load_documents(find_dataset(name), DataSource("samples")).documents for name in log_likelihood_tasks()
    }
    for sample in read_samples(only_run(tiny_run.output)):
        doc = docs[sample.task][sample.doc_id]
        contexts = sample.context if isinstance(sample.context, list) else [sample.context] * len(sample.continuations)
        assert list(zip(contexts, sample.continuations, strict=True)) == protocol.requests(sample.task, doc)
        assert len(sample.logprobs) == len(sample.greedy) == len(sample.continuations)
        scores = [score for score in sample.logprobs if score is not None]
        expected = protocol.metrics(sample.task, doc, scores, *sample.generated)
        assert sample.metrics == pytest.approx(expected, rel=1e-9)
        counts[sample.task] = counts.get(sample.task, 0) + 1
    assert counts == {name: len(of_task) for name, of_task in docs.items()}


def test_a_limit_takes_the_first_documents(tmp_path: Path) -> None:
    result = evalkit("run", "--model", "tiny", "--task", "boolq", "--limit", 3, "--output", tmp_path, "--seed", 7)
    assert result.exit_code == 0
    assert "**limited: only the first documents of each task were scored;" in result.stdout
    samples = list(read_samples(only_run(tmp_path)))
    assert [sample.doc_id for sample in samples] == [0, 1, 2]


def test_a_configuration_file(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(f"model: tiny\ntask: piqa\nlimit: 4\noutput: {tmp_path / 'results'}\n")
    assert evalkit("run", "--config", path, "--limit", 2).exit_code == 0
    record = read_run(only_run(tmp_path / "results"))
    assert record.config.limit == 2
    assert record.config.source_file == str(path)
    assert record.metrics["piqa"]["acc"].n == 2


def test_samples_that_failed_refuse_the_score_and_change_the_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_to_score = load_module.load_to_score

    def broken(config: ModelConfig, seed: int, say: Any) -> Any:
        model = load_to_score(config, seed, say)
        answer = model.scores

        def scores(requests: Any, session: Any) -> Scores:
            launch = model.scorer.launch

            def launched(rows: Any, pack: Any) -> Any:
                computed = launch(rows, pack)

                def result() -> Scored:
                    found = computed()
                    pairs = zip(found.requests, found.logprobs, strict=True)
                    return replace(found, logprobs=[float("nan") if index == 0 else value for index, value in pairs])

                return result

            model.scorer.launch = launched
            return answer(requests, session)

        model.scores = scores  # type: ignore[method-assign]
        return model

    monkeypatch.setattr(load_module, "load_to_score", broken)
    result = evalkit("run", "--model", "tiny", "--task", "boolq", "--output", tmp_path)
    assert result.exit_code == 3
    assert "1 of 10 failed" in result.stdout
    assert "some samples failed" in result.stderr
    assert read_run(only_run(tmp_path)).metrics["boolq"]["acc"] == MetricValue(value=None, stderr=None, n=10, failed=1)
    first = next(iter(read_samples(only_run(tmp_path))))
    assert first.logprobs[0] is None
    assert first.metrics == {"acc": None}


def test_nothing_is_left_behind_where_the_model_cannot_be_loaded(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    result = evalkit(
        "run", "--model", tmp_path / "model", "--task", "boolq", "--data", "samples", "--output", tmp_path / "results"
    )
    assert result.exit_code == 2
    assert list((tmp_path / "results").rglob("*.json*")) == []
    assert list((tmp_path / "results").glob("*/*")) == []


# A random Mistral: evalkit, lm-eval's hf model, lm-eval with our model


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return once(tmp_path_factory, "random-mistral", write_random_mistral)


@pytest.fixture(scope="module")
def by_evalkit(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    def make(folder: Path) -> None:
        tasks = [argument for task in TASKS for argument in ("--task", task)]
        common = ("--data", "samples", "--device", "cpu", "--dtype", "float32", "--output", folder)
        result = evalkit("run", "--model", checkpoint, *tasks, *common)
        assert result.exit_code == 0, result.output

    return only_run(once(tmp_path_factory, "random-mistral-results", make))


def logged(folder_or_samples: Any) -> dict[tuple[str, int], list[Any]]:
    """Log-probabilities and generated texts by (task, document)."""
    if isinstance(folder_or_samples, Path):
        return {(s.task, s.doc_id): [*s.logprobs, *s.generated] for s in read_samples(folder_or_samples)}
    return {
        (task, entry["doc_id"]): [r if isinstance(r, str) else float(r[0]) for r in entry["filtered_resps"]]
        for task, entries in folder_or_samples.items()
        for entry in entries
    }


def assert_same_answers(found: dict[Any, list[Any]], expected: dict[Any, list[Any]], within: float) -> None:
    assert set(found) == set(expected)
    for key, answers in expected.items():
        assert len(found[key]) == len(answers)
        for ours, theirs in zip(found[key], answers, strict=True):
            if isinstance(theirs, str):
                assert ours == theirs, key
            else:
                assert abs(ours - theirs) <= within, key


@pytest.mark.no_cover
def test_each_request_scores_as_lm_evals_hf_model(checkpoint: Path, by_evalkit: Path) -> None:
    from lm_eval.evaluator import evaluate
    from lm_eval.models.huggingface import HFLM

    from evalkit.tasks.lm_eval_loading import load_lm_eval_tasks

    model = HFLM(pretrained=str(checkpoint), device="cpu", dtype="float32", batch_size=4, add_bos_token=False)
    sources = dict.fromkeys(load_suites(), DataSource("samples"))
    theirs = evaluate(model, load_lm_eval_tasks(TASKS, sources), bootstrap_iters=1, log_samples=True)
    expected = logged(theirs["samples"])
    assert any(isinstance(answer, str) for answers in expected.values() for answer in answers)
    found = logged(by_evalkit)
    # lm-eval decodes new tokens alone, which costs this kind of tokenizer a text's first space (docs/tasks.md).
    for key, answers in found.items():
        for k, (ours, other) in enumerate(zip(answers, expected[key], strict=True)):
            if isinstance(ours, str) and ours == f" {other}":
                answers[k] = other
    assert_same_answers(found, expected, within=1e-4)
    record = read_run(by_evalkit)
    for task in TASKS:
        for metric, value in record.metrics[task].items():
            assert value.value == pytest.approx(theirs["results"][task][f"{metric},none"], abs=1e-4)
            assert value.stderr == pytest.approx(theirs["results"][task][f"{metric}_stderr,none"], abs=1e-4)


def test_lm_evals_own_command_gives_the_same_scores(checkpoint: Path, by_evalkit: Path, tmp_path: Path) -> None:
    """Its index holds 14,000 tasks of its own, four suites' names among them: ours must be taken."""
    command = [sys.executable, "-m", "evalkit.lm_eval", "--model", "openmind"]
    command += ["--model_args", f"pretrained={checkpoint},dtype=float32", "--device", "cpu", "--batch_size", "4"]
    command += ["--include_path", str(configs_dir() / "tasks"), "--tasks", ",".join(TASKS)]
    command += ["--output_path", str(tmp_path), "--log_samples"]
    environment = {**os.environ, "EVALKIT_DATA": "samples", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    (path,) = tmp_path.rglob("results_*.json")
    theirs = json.loads(path.read_text(encoding="utf-8"))
    record = read_run(by_evalkit)
    for task in TASKS:
        assert theirs["versions"][task] == load_tasks()[task].version
        assert theirs["n-samples"][task] == record.lm_eval["n-samples"][task]
        for metric, value in record.metrics[task].items():
            assert value.value == pytest.approx(theirs["results"][task][f"{metric},none"], abs=1e-4), (task, metric)


@pytest.mark.no_cover
def test_groups_of_ours_win_over_lm_evals_own() -> None:
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(configs_dir() / "tasks"), metadata={"data": ["samples"]})
    loaded = manager.load(list(SUITES))
    assert set(loaded["tasks"]) == set(log_likelihood_tasks())
    for name, task in loaded["tasks"].items():
        assert task.config.metadata["protocol"] == "nous-2023"
        assert load_tasks()[name].version == task.VERSION
        assert len(task.eval_docs) <= 16
