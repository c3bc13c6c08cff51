"""Reading runs: finished runs of evalkit, of this schema and the former ones, and results files of lm-eval."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from evalkit.config.yaml_files import fault_in
from evalkit.errors import StoreError
from evalkit.records.growth import minor_of
from evalkit.records.model import RUN_FILE, SAMPLES_FILE, SCHEMA_MINOR, SCHEMA_VERSION, RunFacts, RunRecord
from evalkit.records.samples import Sample
from evalkit.results import former, lm_eval_files, lm_eval_samples
from evalkit.results.agreement import check_choices
from evalkit.results.checks import check_finished, check_metrics, check_record, check_sample, missing_key

_REMEDY = "copy the run's folder again or rerun the evaluation"


def read_run(path: Path) -> RunRecord:
    """Read a finished run from its folder (or its ``run.json``), or a results file of lm-eval.

    Raises:
        StoreError: no finished run is there, it is damaged, or it was written by a newer evalkit.
    """
    if lm_eval_files.is_foreign(path):
        return lm_eval_files.read_foreign_run(path)
    folder = path.parent if path.name == RUN_FILE else path
    file = folder / RUN_FILE
    if folder.is_file():
        raise StoreError(
            f"{folder}: no run; a run is a folder, its {RUN_FILE}, or a results file of lm-eval{_of_others(folder)}"
        )
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        from evalkit.store.runs import unfinished_text

        raise StoreError(f"{folder}: {unfinished_text(folder)}") from None
    except OSError as error:
        raise StoreError(f"{file}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{file}: damaged, not valid JSON ({error})") from None
    if not isinstance(found, dict) or "evalkit" not in found:
        raise StoreError(f"{file}: not written by evalkit (no key 'evalkit')")
    version, minor = _version(found, file)
    lm_eval = {key: value for key, value in found.items() if key not in ("schema_version", "schema_minor", "evalkit")}
    try:
        facts = _facts(former.upgraded(found["evalkit"], version))
        check_metrics(facts)
        check_record(facts, lm_eval)
        if _is_present(version, minor, facts, found["evalkit"], folder):
            if (missing := missing_key(found["evalkit"], RunFacts, "evalkit", minor)) is not None:
                raise ValueError(missing)
            check_finished(facts, lm_eval)
    except ValueError as error:
        raise StoreError(f"{file}: {error}; the file is damaged, {_REMEDY}") from None
    return RunRecord(
        **{name: getattr(facts, name) for name in RunFacts.__struct_fields__}, folder=folder, lm_eval=lm_eval
    )


def _of_others(file: Path) -> str:
    """Say so of a file of another harness whose format is not read."""
    if file.suffix.lower() == ".eval":
        return "; logs of inspect are not read"
    try:
        with file.open("rb") as stream:
            first = stream.readline(200).decode("utf-8", errors="replace").lower()
    except OSError:
        return ""
    is_opencompass = re.match(r"[|\s]*dataset[\s,|]+version[\s,|]+metric[\s,|]+mode\b", first) is not None
    return "; summaries of OpenCompass are not read" if is_opencompass else ""


def _is_present(version: int, minor: int, facts: RunFacts, found: dict[str, Any], folder: Path) -> bool:
    """Tell whether a record is to be judged by the present schema, whatever it calls itself.

    One of a former schema has no identity, or not every key, and its samples do not say what their metrics chose.
    """
    if version == SCHEMA_VERSION:
        return True
    if facts.identity is None or facts.work is None:
        return False
    return missing_key(found, RunFacts, "evalkit", minor) is None or _has_choices(folder / SAMPLES_FILE)


def _version(found: dict[str, Any], file: Path) -> tuple[int, int]:
    """Return the schema of a record and its minor version.

    Raises:
        StoreError: it says none, one that never was, or one of a newer evalkit.
    """
    if "schema_version" not in found:
        raise StoreError(f"{file}: key 'schema_version' is missing; the file is damaged, {_REMEDY}")
    version = found["schema_version"]
    if type(version) is not int or version < 1:
        shown = json.dumps(version)[:40]
        raise StoreError(
            f"{file}: schema_version: expected an integer from 1 to {SCHEMA_VERSION}, found {shown}; "
            f"the file is damaged, {_REMEDY}"
        )
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"{file}: schema_version {version}, this evalkit reads 1 to {SCHEMA_VERSION}; use a newer evalkit"
        )
    minor = found.get("schema_minor", 0)  # the first records of a schema do not say it
    if type(minor) is not int or minor < 0:
        raise StoreError(
            f"{file}: schema_minor: expected an integer from 0, found {json.dumps(minor)[:40]}; "
            f"the file is damaged, {_REMEDY}"
        )
    if version == SCHEMA_VERSION and minor > SCHEMA_MINOR:
        raise StoreError(
            f"{file}: schema {version}.{minor}, this evalkit reads up to {SCHEMA_VERSION}.{SCHEMA_MINOR}; "
            "use a newer evalkit"
        )
    return version, minor


def _facts(found: Any) -> RunFacts:
    """Return evalkit's part of a ``run.json``.

    Raises:
        ValueError: names the key that is unknown, missing or of another type.
    """
    try:
        return msgspec.convert(found, RunFacts)
    except msgspec.ValidationError as error:
        raise ValueError(fault_in(found, RunFacts, ("evalkit",)) or str(error)) from None


def is_run(path: Path) -> bool:
    """Tell whether a path is that of a run: a folder, a ``run.json``, or a results file of lm-eval."""
    return path.is_dir() or path.name == RUN_FILE or lm_eval_files.is_foreign(path)


def has_samples(record: RunRecord) -> bool:
    """Tell whether a run's documents are there.

    Raises:
        StoreError: what has their file's name is none: a link that leads nowhere, a folder.
    """
    if record.foreign is not None:
        return bool(lm_eval_samples.sample_files(record.folder))
    path = record.folder / SAMPLES_FILE
    if os.path.lexists(path) and not path.is_file():
        what = "a link that leads nowhere" if path.is_symlink() else "no file"
        raise StoreError(f"{path}: cannot be read ({what}); put the run's own file there, or delete it")
    packed = path.with_name(f"{SAMPLES_FILE}.gz")
    if not path.is_file() and packed.exists():
        raise StoreError(f"{packed}: a run's documents are read unpacked; gunzip it")
    return path.is_file()


def read_samples(folder: Path) -> Iterator[Sample]:
    """Yield a finished run's samples, in order.

    Raises:
        StoreError: the file is missing or a line is damaged.
    """
    if lm_eval_files.is_foreign(folder):
        yield from map(former.with_choices, lm_eval_samples.read_foreign_samples(folder))
        return
    path = folder / SAMPLES_FILE
    decoder = msgspec.json.Decoder(Sample)
    wanted, is_present = _keys_beside(folder / RUN_FILE)
    try:
        with path.open("rb") as stream:  # decoded line by line, so that a bad byte has a line
            for number, line in enumerate(stream, 1):
                try:
                    sample = decoder.decode(line)
                    check_sample(sample)
                    if wanted is not None and (is_present or sample.picked is not None):
                        _check_present(line, sample, wanted)
                except (msgspec.MsgspecError, ValueError, RecursionError) as error:
                    raise StoreError(f"{path}:{number}: damaged line{_reason(line, error)}") from None
                yield former.with_choices(sample)
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror})") from None


def _has_choices(file: Path) -> bool:
    """Tell whether samples say what their metrics chose, as those of the present schema do."""
    try:
        with file.open("rb") as stream:
            return any(b'"picked"' in line and "picked" in _keys(line) for line in stream)
    except OSError:
        return False  # who reads the samples says so


def _keys(line: bytes) -> Iterator[str]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return iter(())
    return iter(found if isinstance(found, dict) else ())


class _Part(msgspec.Struct):
    identity: Any = None


class _Version(msgspec.Struct):
    schema_version: Any = None
    schema_minor: Any = 0
    evalkit: _Part = msgspec.field(default_factory=_Part)


Keys = tuple[tuple[str, bytes], ...]


def _keys_beside(file: Path) -> tuple[Keys | None, bool]:
    """Return the keys that samples beside a record have, and whether it says that it is of the present schema.

    None where it can be of a former one alone. One that says it is, but has what only the present one has, may lie.
    """
    try:
        found = msgspec.json.decode(file.read_bytes(), type=_Version)
    except (OSError, msgspec.MsgspecError, RecursionError):
        return None, False  # who reads the record says what is wrong with it
    is_present = type(found.schema_version) is int and found.schema_version == SCHEMA_VERSION
    if not is_present and found.evalkit.identity is None:
        return None, False
    minor = found.schema_minor if type(found.schema_minor) is int else 0
    names = [field.encode_name for field in msgspec.structs.fields(Sample) if minor_of(field.type) <= minor]
    return tuple((name, f'"{name}"'.encode()) for name in names), is_present


def _check_present(line: bytes, sample: Sample, wanted: Keys) -> None:
    for name, quoted in wanted:
        if quoted not in line:
            raise ValueError(f"key '{name}' is missing")
    check_choices(sample)


def _reason(line: bytes, error: Exception) -> str:
    """Return which key of a line is wrong, or what in it does not agree; nothing where it is no JSON at all."""
    try:
        fault = fault_in(json.loads(line.decode("utf-8")), Sample)
    except (ValueError, RecursionError):
        return ""
    return f" ({fault or error})"
