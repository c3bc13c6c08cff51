"""The published JSON schemas are those of the types, and what is written fits them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evalkit.results.schema import DOCS, KINDS, schema_text
from evalkit.results.writing import evalkit_part
from tests.support.records import write_record

pytestmark = pytest.mark.torch_free


@pytest.mark.parametrize("name", KINDS)
def test_the_published_schema_is_current(name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == schema_text(KINDS[name]), "python -m evalkit.results.schema"


def test_what_is_written_fits(tmp_path: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="an independent reader of JSON schemas is absent")
    run, sample = (json.loads((DOCS / name).read_text(encoding="utf-8")) for name in KINDS)
    record = write_record(tmp_path, {"boolq": {"acc": [1.0, None]}})
    written = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))["evalkit"]
    jsonschema.validate(written, run)
    for line in (tmp_path / "samples.jsonl").read_text(encoding="utf-8").splitlines():
        jsonschema.validate(json.loads(line), sample)
    assert set(written) == set(evalkit_part(record))
    for wrong in ({**written, "modell": 1}, {**written, "model": {**written["model"], "dtype": 3}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, run)
