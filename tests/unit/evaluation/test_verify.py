"""`evalkit verify`: the recorded figures, the golden ones, and every way in which they can differ."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import msgspec
import pytest

from evalkit.config.suites import load_suites, load_tasks
from evalkit.data import DataSource
from evalkit.errors import ConfigError, DataError
from evalkit.evaluation import verify as module
from evalkit.evaluation.verify import TaskFigures, log_likelihood_tasks, print_verification, recorded_values, verify
from tests.support.files import change_document

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "verify.json").read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.no_cover
def test_all_tasks_on_the_reference_data_are_the_golden_ones(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert print_verification([str(shared / "data")], [], as_json=True) == 0
    found = json.loads(capsys.readouterr().out)["tasks"]
    assert list(found) == log_likelihood_tasks() == list(GOLDEN)
    recorded = recorded_values()
    for name, figures in found.items():
        assert set(figures) == {"documents", "requests", "sha256", "scores", "verdict", "differences"}
        assert figures["verdict"] == ("ok" if name in recorded else "unrecorded")
        assert figures["differences"] == []
        for key in ("documents", "requests", "sha256"):
            assert figures[key] == GOLDEN[name][key], (name, key)
        assert figures["scores"] == pytest.approx(GOLDEN[name]["scores"], rel=1e-12), name


def test_34_tasks_have_log_likelihood_requests() -> None:
    assert len(log_likelihood_tasks()) == 34
    assert set(log_likelihood_tasks()) == set(load_tasks()) - {"humaneval", "humaneval_chat"}
    assert set(recorded_values()) <= set(log_likelihood_tasks())


@pytest.fixture
def recorded_samples(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, TaskFigures]:
    """Record for three tasks what they are on the (relabelled) samples."""
    names = ["boolq", "bigbench_geometric_shapes", "truthfulqa_mc"]
    sources = dict.fromkeys(load_suites(), DataSource("folder", data_folder))
    values = {
        result.task: TaskFigures(source="harness", requests=result.requests, sha256=result.sha256, scores=result.scores)
        for result in verify(names, sources)
    }
    monkeypatch.setattr(module, "recorded_values", lambda: values)
    return values


def output(capsys: pytest.CaptureFixture[str], data: Path | str, *tasks: str) -> tuple[int, list[str]]:
    code = print_verification([str(data)], tasks, as_json=False)
    return code, capsys.readouterr().out.strip().split("\n")


def test_equal_figures(
    recorded_samples: dict[str, TaskFigures], data_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, lines = output(capsys, data_folder, "boolq", "bigbench_geometric_shapes", "piqa")
    assert code == 0
    assert lines[1].split()[0::4] == ["boolq", "ok"]
    assert lines[-1] == "2 ok, 1 unrecorded"


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"requests": 21}, "20 requests, recorded 21"),
        ({"sha256": "0" * 64}, "..., recorded 000000000000..."),
        ({"scores": {"acc": 0.123}}, "acc 0."),
        ({"scores": {"f1": 0.5}}, "f1 None, recorded 0.5"),
        ({"scores": {"acc": math.nan}}, "recorded nan"),
    ],
)
def test_a_difference_is_a_mismatch(
    change: dict[str, Any],
    difference: str,
    recorded_samples: dict[str, TaskFigures],
    data_folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recorded_samples["boolq"] = msgspec.structs.replace(recorded_samples["boolq"], **change)
    code, lines = output(capsys, data_folder, "boolq", "truthfulqa_mc")
    assert code == 1
    assert "  mismatch  " in lines[1]
    assert difference in lines[1]
    assert lines[-1] == "1 ok, 1 mismatch"


def test_one_changed_character_is_a_mismatch(
    recorded_samples: dict[str, TaskFigures], data_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change_document(data_folder / "gpt4all/boolq/validation.jsonl", 1, {"question": "is it so"})
    module_load_cache_clear()
    assert output(capsys, data_folder, "boolq")[0] == 1


def module_load_cache_clear() -> None:
    from evalkit.tasks import documents

    documents.load.cache_clear()


def test_samples_have_nothing_to_be_compared_with(capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = output(capsys, "samples", "boolq")
    assert code == 0
    assert lines[1].endswith("unrecorded")
    assert lines[-1].startswith("built-in samples: nothing is recorded for them;")


def test_mistakes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown task 'bolq'; did you mean 'boolq'"):
        print_verification(["samples"], ["bolq"], as_json=False)
    with pytest.raises(ConfigError, match="task 'humaneval' has no log-likelihood requests to verify"):
        print_verification(["samples"], ["humaneval"], as_json=False)
    with pytest.raises(ConfigError, match="no data source for agieval"):
        print_verification(["gpt4all=samples"], ["agieval_sat_en"], as_json=False)
    with pytest.raises(DataError, match="no such file; the folder given by --data must hold"):
        print_verification([str(tmp_path)], ["boolq"], as_json=True)
    assert capsys.readouterr().out == ""


def test_one_suites_source_is_enough_for_its_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    assert print_verification(["gpt4all=samples"], ["boolq", "piqa"], as_json=True) == 0
    assert set(json.loads(capsys.readouterr().out)["tasks"]) == {"boolq", "piqa"}
