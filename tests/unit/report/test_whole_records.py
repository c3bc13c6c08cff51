"""The files of a record belong together: another run's run.json beside the samples is refused, as are odd values."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from evalkit.cli import main

pytestmark = pytest.mark.torch_free

RECORDED = Path(__file__).parents[2] / "golden" / "runs" / "tiny-samples"


def gate(folder: Path) -> tuple[int, str]:
    found = CliRunner().invoke(main, ["gate", str(folder), "--baseline", str(RECORDED)])
    return found.exit_code, found.output


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("value", 0.9, "the documents' mean acc_norm is"),
        ("value", "0.9", "damaged"),
        ("n", "10", "damaged"),
        ("n", True, "damaged"),
        ("failed", None, "damaged"),
    ],
)
def test_a_score_that_is_not_the_samples(key: str, value: object, message: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(RECORDED, tmp_path / "run"))
    document = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    document["evalkit"]["tasks"]["piqa"]["acc_norm"][key] = value
    (folder / "run.json").write_text(json.dumps(document), encoding="utf-8")
    code, said = gate(folder)
    assert (code, said.count("\n")) == (2, 1)
    assert message in said


def test_a_sample_whose_metric_is_no_number(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(RECORDED, tmp_path / "run"))
    lines = (folder / "samples.jsonl").read_text(encoding="utf-8").splitlines()
    sample = json.loads(lines[3])
    sample["metrics"] = dict.fromkeys(sample["metrics"], "0.0")
    lines[3] = json.dumps(sample)
    (folder / "samples.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    code, said = gate(folder)
    assert code == 2
    assert "samples.jsonl:4: damaged line" in said
