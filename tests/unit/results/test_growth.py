"""Keys are added to records without making those that exist unreadable."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest

from evalkit.config.yaml_files import Entry
from evalkit.errors import StoreError
from evalkit.records.growth import fields_of, grown, minor_of, newest_minor, since
from evalkit.records.model import SCHEMA_MINOR, SCHEMA_VERSION, RunFacts
from evalkit.records.samples import Sample
from evalkit.results.checks import missing_key
from evalkit.results.reading import read_run
from tests.support.records import write_record

pytestmark = pytest.mark.torch_free

# Written down when the schema was made, and not to be changed while it is the present one.
FIRST = Path(__file__).parents[2] / "golden" / "schema_3_keys.txt"
# What types are called now that had another name then; no file has their names in it.
RENAMED = {"Session": "RunSession", "Work": "WorkDone"}


def test_every_key_that_was_added_to_the_schema_says_so_and_has_a_default() -> None:
    assert SCHEMA_VERSION == 3, "write down the keys of the new schema beside those of the former one"
    written = (key.partition(".") for key in FIRST.read_text(encoding="utf-8").split())
    first = {f"{RENAMED.get(kind, kind)}.{key}" for kind, _, key in written}
    found = {f"{kind}.{key}": (minor, has_default) for kind, key, minor, has_default in fields_of(RunFacts, Sample)}
    added = {key: said for key, said in found.items() if key not in first}
    numbers = sorted({minor for minor, _ in added.values()})
    assert all(minor and has_default for minor, has_default in added.values()), (
        f"a new key needs a default and since={SCHEMA_MINOR + 1} (CONTRIBUTING, 'What a record keeps'): {added}"
    )
    assert numbers == list(range(1, SCHEMA_MINOR + 1)), "each minor version adds something"
    assert all(found[key][0] == 0 for key in first), "a key that was always there, or one that was removed"


class _Part(Entry, frozen=True, kw_only=True):
    there: int
    later: Annotated[str, since(2)] = "default"


class _Whole(Entry, frozen=True, kw_only=True):
    parts: dict[str, _Part]
    newest: Annotated[_Part | None, since(3)] = None


@pytest.mark.parametrize(
    ("minor", "missing"), [(0, None), (1, None), (2, "evalkit.parts.a: key 'later' is missing"), (3, "evalkit.parts.a")]
)
def test_a_key_may_be_missing_in_records_that_are_older_than_it(minor: int, missing: str | None) -> None:
    found = missing_key({"parts": {"a": {"there": 1}}}, _Whole, "evalkit", minor)
    assert (found is None) == (missing is None)
    assert missing is None or (found or "").startswith(missing)
    assert (missing_key({"parts": {"a": {}}}, _Whole, "evalkit", minor) or "").startswith(
        "evalkit.parts.a: key 'there'"
    )
    assert (newest_minor(_Whole), newest_minor(_Part), newest_minor(Entry)) == (3, 2, 0)
    assert msgspec.convert({"parts": {"a": {"there": 1}}}, _Whole).parts["a"].later == "default"


def test_a_part_grows_by_what_it_does_not_declare() -> None:
    made = grown(_Part, {"there": (str, "x", 0), "swap": (bool, False, 4), "note": (str | None, None, 0)})
    assert made.__name__ == "Part"
    assert made.__struct_fields__ == ("there", "later", "swap", "note")
    fields = {field.name: field for field in msgspec.structs.fields(made)}
    assert (minor_of(fields["swap"].type), minor_of(fields["note"].type), newest_minor(made)) == (4, 0, 4)
    assert msgspec.convert({"there": 1}, made).swap is False
    for wrong in ({"there": "x"}, {"there": 1, "swap": 3}, {"there": 1, "unknown": 1}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(wrong, made)


def rewritten(folder: Path, change: Any) -> Path:
    write_record(folder, {"boolq": {"acc": [1.0]}})
    file = folder / "run.json"
    found = json.loads(file.read_text(encoding="utf-8"))
    assert found["schema_minor"] == SCHEMA_MINOR
    change(found)
    file.write_text(json.dumps(found), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("version", "minor", "says"),
    [
        (3, SCHEMA_MINOR + 1, f"schema 3.{SCHEMA_MINOR + 1}, this evalkit reads up to 3.{SCHEMA_MINOR}; use a newer"),
        (3, "1", 'schema_minor: expected an integer from 0, found "1"; the file is damaged'),
        (3, -1, "schema_minor: expected an integer from 0, found -1"),
        (3, True, "schema_minor: expected an integer from 0, found true"),
    ],
)
def test_a_minor_version_that_cannot_be(tmp_path: Path, version: int, minor: Any, says: str) -> None:
    folder = rewritten(tmp_path, lambda found: found.update(schema_version=version, schema_minor=minor))
    with pytest.raises(StoreError) as error:
        read_run(folder)
    assert says in str(error.value)
    assert "schema_minor" not in read_run(rewritten(tmp_path / "right", lambda _: None)).lm_eval
