"""Records that former versions wrote are read, with the numbers that they have."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from evalkit.config.run_config import ModelConfig, RunConfig
from evalkit.errors import StoreError
from evalkit.records.asked import Asked
from evalkit.records.model import RunRecord
from evalkit.results.reading import read_run, read_samples
from evalkit.results.writing import evalkit_part

pytestmark = pytest.mark.torch_free

# `evalkit run --model tiny --limit 2` of the last version with schema 2, a few of its tasks.
SCHEMA_2 = Path(__file__).parents[2] / "golden" / "runs" / "schema-2"


def changed(tmp_path: Path, change: Any) -> RunRecord:
    folder = Path(shutil.copytree(SCHEMA_2, tmp_path / "run"))
    found = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    change(found)
    (folder / "run.json").write_text(json.dumps(found), encoding="utf-8")
    return read_run(folder)


def test_a_record_of_schema_2_says_what_its_file_says() -> None:
    written = json.loads((SCHEMA_2 / "run.json").read_text(encoding="utf-8"))["evalkit"]
    assert_holds(json.loads(json.dumps(evalkit_part(read_run(SCHEMA_2)))), written)


def assert_holds(read: Any, written: Any, trail: str = "") -> None:
    """All that was written is read; keys that were added since have a value that no record of that day denies."""
    if not isinstance(written, dict) or not isinstance(read, dict):
        assert read == written, trail
        return
    assert set(written) <= set(read), trail
    for key, value in written.items():
        assert_holds(read[key], value, f"{trail}.{key}")


def test_its_samples_say_what_was_chosen() -> None:
    samples = {(sample.task, sample.doc_id): sample for sample in read_samples(SCHEMA_2)}
    lines = [json.loads(line) for line in (SCHEMA_2 / "samples.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(samples) == len(lines)
    for line in lines:
        sample = samples[line["task"], line["doc_id"]]
        assert (sample.metrics, sample.logprobs) == (line["metrics"], line["logprobs"])
        for metric, place in (sample.picked or {}).items():
            if metric != "multiple_choice_grade":
                assert sample.metrics[metric] == float(place in (sample.gold or ()))
    truthful = samples["truthfulqa_mc", 0]
    assert truthful.second_group is not None
    assert truthful.gold is not None
    assert truthful.gold[:2] == [0, truthful.second_group]
    assert "mc1_choices" not in truthful.details
    assert samples["humaneval", 0].picked == {}
    assert samples["humaneval", 0].gold is None
    assert samples["arc_easy", 0].characters == [len(text) - 1 for text in samples["arc_easy", 0].continuations]
    assert samples["boolq", 0].characters is None


def test_a_record_of_schema_1_has_no_identity_work_and_sessions(tmp_path: Path) -> None:
    def back(found: dict[str, Any]) -> None:
        found["schema_version"] = 1
        for key in ("identity", "work", "sessions"):
            del found["evalkit"][key]

    record = changed(tmp_path, back)
    assert (record.identity, record.work, record.sessions) == (None, None, ())
    assert record.metrics == read_run(SCHEMA_2).metrics


def test_a_key_that_no_version_reads_any_more_is_no_damage_in_a_former_record(tmp_path: Path) -> None:
    def more(found: dict[str, Any]) -> None:
        found["evalkit"]["model"]["gone"] = found["evalkit"]["gone"] = found["evalkit"]["data"]["boolq"]["gone"] = 1

    assert changed(tmp_path, more) == replace(read_run(SCHEMA_2), folder=tmp_path / "run")


def test_a_value_of_another_type_is_damage_in_it_too(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"run\.json: evalkit\.model\.dtype: expected a text, found 3; "):
        changed(tmp_path, lambda found: found["evalkit"]["model"].update(dtype=3))


@pytest.mark.parametrize("details", [{"mc1_choices": 0, "mc2_true": 1}, {"mc1_choices": 9, "mc2_true": 9}, {}])
def test_choices_that_are_not_known_stay_unknown(tmp_path: Path, details: dict[str, int]) -> None:
    line = next(line for line in (SCHEMA_2 / "samples.jsonl").read_text().splitlines() if "truthfulqa" in line)
    sample = json.loads(line) | {"continuations": [" a", " b"], "logprobs": [-1.0, -2.0], "greedy": [False, False]}
    sample["details"] = details
    (tmp_path / "samples.jsonl").write_text(json.dumps(sample) + "\n")
    (found,) = read_samples(tmp_path)
    assert (found.gold, found.second_group) == (None, None)


def test_every_option_has_its_place_in_the_record() -> None:
    asked = Asked(model="tiny")
    given = RunConfig(model=ModelConfig(name="tiny")).to_dict()
    assert set(given) == set(Asked.__struct_fields__)
    for name, value in given.items():
        default = getattr(asked, name)
        assert (list(default) if isinstance(default, tuple) else default) == value or name == "output"
