"""The gate that scores a model itself: the built-in model against the recorded run that `make gate` uses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from msgspec import to_builtins
from msgspec.structs import replace

from evalkit.cli import main
from evalkit.comparison.gate_sequential import MIN_SAME
from evalkit.config.run_config import ModelConfig, RunConfig
from evalkit.evaluation.gate_run import _is_known_to_be, gate_model
from evalkit.evaluation.run import run
from evalkit.records.model import RUN_FILE, SAMPLES_FILE
from evalkit.results.reading import read_run

pytestmark = pytest.mark.model

RECORDED = Path(__file__).parents[1] / "golden" / "runs" / "tiny-samples"


def evalkit(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="evalkit")


def edited(folder: Path, **changes: object) -> Path:
    """The recorded run with other settings or scores."""
    shutil.copytree(RECORDED, folder)
    document = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
    for key, value in changes.items():
        document["evalkit"][key].update(value)
    (folder / RUN_FILE).write_text(json.dumps(document), encoding="utf-8")
    return folder


def test_the_recorded_run_is_small_and_names_no_machine() -> None:
    assert sum(path.stat().st_size for path in RECORDED.iterdir()) < 300_000
    text = (RECORDED / RUN_FILE).read_text(encoding="utf-8")
    assert "/home/" not in text
    assert "/tmp" not in text
    assert read_run(RECORDED).model.dtype == "float32"


@pytest.mark.slow
def test_the_built_in_model_passes_against_its_record(tmp_path: Path) -> None:
    found = evalkit("gate", "--run-model", "tiny", "--baseline", RECORDED, "--margin", 5, "--json", tmp_path / "g.json")
    assert found.exit_code == 0, found.output
    assert "PASS" in found.stdout
    document = json.loads((tmp_path / "g.json").read_text(encoding="utf-8"))
    # Few documents can't show that a loss is small; the same log-probabilities on all of them can.
    assert all(part["same_answers"] for part in document["parts"])
    # A model on the record's own libraries is recognised at the first look, another at the last.
    assert document["sequential"]["of"] == 160
    assert document["sequential"]["documents"] <= 160
    assert len(document["sequential"]["order_sha256"]) == 64
    shares = [look["documents"] for look in document["sequential"]["looks"] if look["suite"] == "gpt4all"]
    assert shares == sorted(shares)
    assert shares[0] >= MIN_SAME  # a sixteenth of the samples' documents would be too few to recognise it


def test_a_model_that_lost_everything_is_found_after_a_few_documents(tmp_path: Path) -> None:
    baseline = edited(tmp_path / "perfect")
    lines = []
    for line in (RECORDED / SAMPLES_FILE).read_text(encoding="utf-8").splitlines():
        sample = json.loads(line)
        lines.append(json.dumps({**sample, "metrics": dict.fromkeys(sample["metrics"], 1.0)}))
    (baseline / SAMPLES_FILE).write_text("\n".join(lines) + "\n", encoding="utf-8")
    document = json.loads((baseline / RUN_FILE).read_text(encoding="utf-8"))
    for metrics in document["evalkit"]["tasks"].values():
        for value in metrics.values():
            value["value"] = 1.0
    document["results"] = {}  # lm-eval's, which would contradict
    (baseline / RUN_FILE).write_text(json.dumps(document), encoding="utf-8")
    said: list[str] = []
    found = gate_model(ModelConfig(name="tiny"), str(baseline), margin=5.0, suites=["gpt4all"], say=said.append)
    assert found.exit_code == 1
    assert found.sequential is not None
    assert int(str(found.sequential["documents"])) < int(str(found.sequential["of"]))
    assert "% saved" in str(found.sequential["summary"])
    assert said[-1].endswith("GPT4All worse")


@pytest.mark.slow
@pytest.mark.parametrize("chat", [False, True])
def test_its_scores_are_those_of_a_whole_run(tmp_path: Path, chat: bool) -> None:
    config = RunConfig(
        model=ModelConfig(name="tiny", dtype="float32", device="cpu"),
        suite=("bigbench", "truthfulqa"),
        task=("winogrande",),
        apply_chat_template=chat,
        system="Answer." if chat else None,
        output=str(tmp_path),
    )
    record = run(config, ["evalkit"]).record
    found = gate_model(ModelConfig(name="tiny"), str(record.folder), margin=5.0, seed=3)
    assert found.verdict == "pass"
    assert all(item.asked.same for item in found.judged)


def test_what_differs_is_refused_and_a_dtype_can_be_allowed(tmp_path: Path) -> None:
    other_dtype = edited(tmp_path / "dtype", model={"dtype": "float16"})
    options = ["--run-model", "tiny", "--suite", "truthfulqa", "--margin", 40, "--dtype", "float32"]
    refused = evalkit("gate", *options, "--baseline", other_dtype)
    assert refused.exit_code == 2
    assert "dtype: float32, baseline float16" in refused.stderr
    allowed = evalkit("gate", *options, "--baseline", other_dtype, "--allow-different", "dtype")
    assert allowed.exit_code == 0
    assert "allowed to differ: dtype" in allowed.stdout
    record = json.loads((RECORDED / RUN_FILE).read_text(encoding="utf-8"))["evalkit"]["data"]["truthfulqa_mc"]
    other_data = edited(tmp_path / "data", data={"truthfulqa_mc": {**record, "sha256": "0" * 64}})
    refused = evalkit("gate", *options, "--baseline", other_data)
    assert refused.exit_code == 2
    assert "the baseline's 000000000000" in refused.stderr
    lost = edited(tmp_path / "lost")
    (lost / SAMPLES_FILE).unlink()
    assert evalkit("gate", *options, "--baseline", lost).exit_code == 2


def test_the_same_numbers_on_other_libraries_are_not_the_same_model() -> None:
    recorded = read_run(RECORDED).model
    theirs = to_builtins(recorded)
    assert _is_known_to_be(theirs, recorded)
    for change in (
        {"versions": {**theirs["versions"], "torch": "0.0"}},
        {"model_fingerprint": "other"},
        {"tokenizer_fingerprint": None},
        {"device": "npu:0"},
    ):
        assert not _is_known_to_be({**theirs, **change}, recorded)
    assert not _is_known_to_be(theirs, replace(recorded, model_fingerprint=None))
