"""Run folders: what the same command continues, what is refused and with which words, what a clock may do."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import shutil
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path, PurePath
from typing import Any

import pytest
from msgspec.structs import replace

from evalkit.config import task_files
from evalkit.config.run_config import ModelConfig, RunConfig
from evalkit.errors import StoreError
from evalkit.paths import configs_dir
from evalkit.records.facts import DataFacts
from evalkit.records.identity import MOVING
from evalkit.records.model import RunSession
from evalkit.store import identity as identities
from evalkit.store import runs
from evalkit.store.identity import asked, differences, identity
from evalkit.store.journal import Journal
from evalkit.store.runs import OpenRun, open_run
from tests.support.faults import install

pytestmark = pytest.mark.torch_free

NOON = datetime(2026, 1, 2, 12, 0, 0, tzinfo=timezone.utc)
IDENTITY: dict[str, Any] = {
    "model": {"model_fingerprint": "a" * 64},
    "tokenizer": {"tokenizer_fingerprint": "b" * 64},
    "dtype": "float32",
    "scorer": {"name": "forest"},
    "protocol": {"name": "nous-2023"},
    "settings": {"limit": 10},
}
ASKED: dict[str, Any] = {"model": "m", "limit": 10}


def begin(parent: Path, now: datetime = NOON, **options: Any) -> OpenRun:
    """Begin or continue a run, and leave it unfinished."""
    changed = {"identity": IDENTITY, "asked": ASKED, **options}
    opened = open_run(parent, changed.pop("identity"), changed.pop("asked"), now=now, **changed)
    opened.journal.close()
    return opened


def refusal(parent: Path, **options: Any) -> str:
    with pytest.raises(StoreError) as caught:
        begin(parent, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


OTHER_WEIGHTS = {**IDENTITY, "model": {"model_fingerprint": "c" * 64}}


def test_the_same_command_continues_the_newest_unfinished_run(tmp_path: Path) -> None:
    first = begin(tmp_path)
    second = begin(tmp_path, fresh=True)
    assert first.folder != second.folder
    third = begin(tmp_path)
    assert third.folder == second.folder
    assert third.is_resumed
    assert not second.is_resumed


def test_a_finished_run_is_not_continued(tmp_path: Path) -> None:
    first = begin(tmp_path)
    (first.folder / "run.json").write_text("{}")
    assert begin(tmp_path).folder != first.folder


def test_changed_weights_under_the_same_name_are_refused(tmp_path: Path) -> None:
    folder = begin(tmp_path).folder
    message = refusal(tmp_path, identity=OTHER_WEIGHTS)
    assert message == (
        f"{folder}: this unfinished run cannot be continued: model.model_fingerprint: {'a' * 12}, now {'c' * 12}; "
        "--fresh starts anew and leaves it as it is"
    )
    assert not begin(tmp_path, identity=OTHER_WEIGHTS, fresh=True).is_resumed


def test_where_only_metrics_were_mended_the_answers_can_be_kept(tmp_path: Path) -> None:
    before = {**IDENTITY, "code": {"sha256": "d" * 64}}
    folder = begin(tmp_path, identity=before).folder
    mended = {**IDENTITY, "code": {"sha256": "e" * 64}}
    assert refusal(tmp_path, identity=mended) == (
        f"{folder}: this unfinished run cannot be continued: code.sha256: {'d' * 12}, now {'e' * 12}; "
        f"--fresh --reuse {folder} starts anew with its answers to equal requests, computed as they were; "
        "--fresh alone computes all, which is right if a fault that moved answers was mended since"
    )
    found = runs.source_run(folder, mended)
    assert found.name == folder.name
    assert found.remarks == (
        f"--reuse {folder}: its answers were computed otherwise: code.sha256: {'d' * 12}, now {'e' * 12}; "
        "without --reuse all are computed, which is right if a fault that moved answers was mended since",
    )
    assert runs.source_run(folder, before).remarks == ()


@pytest.mark.parametrize(
    ("group", "then", "now", "says"),
    [
        ("code", {"evalkit": "0.1.0"}, {"evalkit": "0.2.0"}, "code.evalkit: 0.1.0, now 0.2.0"),
        ("versions", {"torch": "2.12"}, {"torch": "2.13"}, "versions.torch: 2.12, now 2.13"),
        ("device", {"kind": "npu"}, {"kind": "cpu"}, "device.kind: npu, now cpu"),
    ],
)
def test_how_reused_answers_were_computed_is_named(
    tmp_path: Path, group: str, then: dict[str, str], now: dict[str, str], says: str
) -> None:
    folder = begin(tmp_path, identity={**IDENTITY, group: then}).folder
    (remark,) = runs.source_run(folder, {**IDENTITY, group: now}).remarks
    assert f"computed otherwise: {says}; without --reuse" in remark


def test_a_run_that_took_answers_over_itself_says_so(tmp_path: Path) -> None:
    folder = begin(tmp_path, identity={**IDENTITY, "reuse": "2026-01-01T00-00-00Z"}).folder
    (remark,) = runs.source_run(folder, IDENTITY).remarks
    assert "some of its answers are those of the run 2026-01-01T00-00-00Z" in remark


def test_another_command_starts_anew_and_says_so(tmp_path: Path) -> None:
    first = begin(tmp_path)
    said: list[str] = []
    other = {**IDENTITY, "settings": {"limit": 20}}
    second = begin(tmp_path, identity=other, asked={**ASKED, "limit": 20}, say=said.append)
    assert second.folder != first.folder
    assert said == [f"unfinished run {first.folder} is another one (limit: 10, now 20); starting anew"]
    # Both can now be continued.
    assert begin(tmp_path).folder == first.folder
    assert begin(tmp_path, identity=other, asked={**ASKED, "limit": 20}).folder == second.folder


def test_resume_never_starts_anew(tmp_path: Path) -> None:
    assert refusal(tmp_path, resume=True) == (
        f"{tmp_path}: no unfinished run to resume; leave --resume out to start one"
    )
    first = begin(tmp_path)
    assert begin(tmp_path, resume=True).folder == first.folder
    other = {**IDENTITY, "settings": {"limit": 20}}
    assert "settings.limit: 10, now 20" in refusal(tmp_path, identity=other, asked={"limit": 20}, resume=True)


def test_a_run_that_somebody_writes_is_refused(tmp_path: Path) -> None:
    opened = open_run(tmp_path, IDENTITY, ASKED, now=NOON)
    assert "another process is writing this run; wait until it has ended, or start another run" in refusal(tmp_path)
    opened.journal.close()
    assert begin(tmp_path).is_resumed


def test_a_run_that_is_finished_between_look_and_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = begin(tmp_path)
    open_ = Journal.open_.__func__  # type: ignore[attr-defined]

    def late(cls: type[Journal], path: Path) -> Any:
        (path.parent / "run.json").write_text("{}")
        return open_(cls, path)

    monkeypatch.setattr(Journal, "open_", classmethod(late))
    second = begin(tmp_path)
    assert not second.is_resumed
    assert second.folder != first.folder


def test_damage_of_an_unfinished_run_stops_instead_of_being_overlooked(tmp_path: Path) -> None:
    opened = open_run(tmp_path, IDENTITY, ASKED, now=NOON)
    opened.journal.append({"kind": "x"})
    opened.journal.append({"kind": "y"})
    opened.journal.close()
    path = opened.folder / runs.JOURNAL_FILE
    whole = path.read_bytes()
    for position, line in ((15, 1), (whole.index(b"\n") + 15, 2)):
        damaged = bytearray(whole)
        damaged[position] ^= 4
        path.write_bytes(damaged)
        assert refusal(tmp_path).startswith(f"{path}:{line}: damaged line")
    assert not begin(tmp_path, fresh=True).is_resumed


def test_a_run_without_header_is_left_alone(tmp_path: Path) -> None:
    folder = begin(tmp_path).folder
    path = folder / runs.JOURNAL_FILE
    path.write_bytes(path.read_bytes()[:40])
    said: list[str] = []
    assert begin(tmp_path, say=said.append).folder != folder
    assert said == [f"{folder}: begun, but stopped before anything was computed; not used"]


def test_names_follow_the_order_of_runs_by_any_clock(tmp_path: Path) -> None:
    """A clock that goes backwards, or two runs in a second: the newest run still has the last name."""
    times = [NOON, NOON, NOON - timedelta(days=400), NOON + timedelta(seconds=1), NOON - timedelta(hours=1)]
    names = [begin(tmp_path, now=now, fresh=True).folder.name for now in times]
    assert names == [
        "2026-01-02T12-00-00Z",
        "2026-01-02T12-00-00Z-2",
        "2026-01-02T12-00-00Z-3",
        "2026-01-02T12-00-01Z",
        "2026-01-02T12-00-01Z-2",
    ]
    assert begin(tmp_path).folder.name == names[-1]
    for _ in range(9):
        last = begin(tmp_path, now=NOON, fresh=True).folder.name
    assert last == "2026-01-02T12-00-01Z-11"  # later than "-9", though not in the alphabet
    assert begin(tmp_path).folder.name == last


def test_other_folders_are_no_runs(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "2026-01-02T12-00-00Z").mkdir()
    assert begin(tmp_path).folder.name == "2026-01-02T12-00-00Z-2"


def test_places_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    assert refusal(tmp_path / "file").endswith("(Not a directory); choose another place with --output")
    for error in (errno.EROFS, errno.ENOSPC):
        with monkeypatch.context() as patched:
            install(patched, fail_at=0, error=error)
            assert ("--output" if error == errno.EROFS else "free some space") in refusal(tmp_path)


# --- sessions ---------------------------------------------------------------------------------------------------------


def test_sessions_are_noted(tmp_path: Path) -> None:
    assert runs.read_sessions(tmp_path) == []
    runs.begin_session(tmp_path, ["evalkit", "run"], "t1")
    with (tmp_path / runs.SESSIONS_FILE).open("a") as stream:
        stream.write('{"started": "t2", "ho')  # killed in the middle of a line
    assert [session.started for session in runs.read_sessions(tmp_path)] == ["t1"]
    session = runs.read_sessions(tmp_path)[0]
    assert session.command == ("evalkit", "run")
    assert session.host
    assert session.pid == os.getpid()
    assert session.previous_until is None


def test_sessions_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, fail_at=1, error=errno.ENOSPC)
    with pytest.raises(StoreError, match="free some space"):
        runs.begin_session(tmp_path, [], "t")


# --- other runs -------------------------------------------------------------------------------------------------------


def test_scores_are_taken_over_from_the_same_model_only(tmp_path: Path) -> None:
    folder = begin(tmp_path).folder
    assert runs.source_run(folder, {**IDENTITY, "settings": {"limit": 99}}).name == folder.name
    with pytest.raises(StoreError, match=r"cannot be taken over: model\.model_fingerprint"):
        runs.source_run(folder, OTHER_WEIGHTS)
    with pytest.raises(StoreError, match="dtype: float32, now bfloat16"):
        runs.source_run(folder, {**IDENTITY, "dtype": "bfloat16"})
    with pytest.raises(StoreError, match="no run to take scores from"):
        runs.source_run(tmp_path, IDENTITY)
    path = folder / runs.JOURNAL_FILE
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(StoreError, match="nothing was computed"):
        runs.source_run(folder, IDENTITY)


def test_scores_are_not_taken_over_where_requests_do_not_show_an_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = dataclasses.replace(MOVING["limit"].option, in_requests=False)
    monkeypatch.setattr(
        runs, "MOVING", {**MOVING, "warp": dataclasses.replace(MOVING["limit"], default=1, option=hidden)}
    )
    folder = begin(tmp_path).folder
    same = {**IDENTITY, "settings": {"limit": 99, "warp": 1}}  # of before there was the option: its default
    assert runs.source_run(folder, same).name == folder.name
    with pytest.raises(StoreError, match=r"taken over: settings\.warp: 1, now 2; leave --reuse out"):
        runs.source_run(folder, {**IDENTITY, "settings": {"limit": 10, "warp": 2}})


def test_how_far_a_run_has_got(tmp_path: Path) -> None:
    opened = open_run(tmp_path, IDENTITY, ASKED, now=NOON)
    assert "no run here" in runs.unfinished_text(tmp_path)
    assert "nothing is computed yet" in runs.unfinished_text(opened.folder)
    plan = {"kind": "plan", "section": 0, "what": "log-likelihoods", "requests": 1500}
    done = {"kind": "pack", "section": 0, "what": "log-likelihoods", "pack": 3, "requests": [1, 2], "keys": ["a", "b"]}
    opened.journal.append(plan)
    opened.journal.append(done)
    opened.journal.close()
    assert runs.unfinished_text(opened.folder).startswith("unfinished run: 2 of 1,500 log-likelihoods are there;")


# --- identity ---------------------------------------------------------------------------------------------------------

IDENTITY_OF_MODEL: dict[str, Any] = {
    "model": {"model_fingerprint": "1" * 64, "adapter": None},
    "tokenizer": {"tokenizer_fingerprint": "2" * 64, "tokenizer_files": "5" * 64, "add_bos": False},
    "chat_template": "6" * 64,
    "generation": {"end_ids": [2], "ignored": []},
    "dtype": "float32",
}
MODEL = {
    "identity": IDENTITY_OF_MODEL,
    "device": "npu:3",
    "device_name": "Ascend910B3",
    "scorer": {"name": "forest"},
    "versions": {"torch": "2.13.0", "python": "3.11.7"},
}
DATA = {
    "piqa": DataFacts(source="folder", verdict="other", sha256="3" * 64, documents=1838, location="/somewhere"),
}


def other(group: str, **values: Any) -> dict[str, Any]:
    """Return a model that differs in one group of its identity."""
    return {**MODEL, "identity": {**IDENTITY_OF_MODEL, group: {**IDENTITY_OF_MODEL[group], **values}}}


M = ModelConfig(name="m")


def make(config: RunConfig | None = None, model: Any = MODEL, data: Any = DATA, made: Any = None) -> dict[str, Any]:
    return identity(config or RunConfig(model=M, task=("piqa", "boolq")), "nous-2023", data, model, made or {})


def test_an_identity_is_json_and_the_same_each_time() -> None:
    assert json.loads(json.dumps(make())) == make()


@pytest.mark.parametrize(
    "config",
    [
        RunConfig(model=M, task=("boolq", "piqa")),
        RunConfig(model=replace(M, batch_size="4", max_batch_tokens=99), task=("piqa", "boolq"), output="elsewhere"),
        RunConfig(model=replace(M, name="/other/path/to/it"), task=("piqa", "boolq"), fresh=True),
    ],
)
def test_what_does_not_change_a_score_is_not_in_it(config: RunConfig) -> None:
    assert make(config) == make()


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        (make(RunConfig(model=M, task=("piqa", "boolq"), limit=3)), "settings.limit: null, now 3"),
        (make(RunConfig(model=M, task=("piqa", "boolq"), seed=1)), "settings.seed: 1234, now 1"),
        (make(RunConfig(model=replace(M, add_bos=True), task=("piqa", "boolq"))), "settings.add_bos: false, now true"),
        (
            make(model=other("model", model_fingerprint="9" * 64)),
            "model.model_fingerprint: 111111111111, now 999999999999",
        ),
        (make(model=other("model", adapter="9" * 64)), "model.adapter: null, now 999999999999"),
        (make(model=other("tokenizer", tokenizer_fingerprint="9" * 64)), "tokenizer.tokenizer_fingerprint: "),
        (make(model=other("tokenizer", tokenizer_files="9" * 64)), "tokenizer.tokenizer_files: 555555555555, now 9999"),
        (make(model=other("generation", end_ids=[2, 7])), "generation.end_ids: [2], now [2, 7]"),
        (
            make(model={**MODEL, "identity": {**IDENTITY_OF_MODEL, "chat_template": "9" * 64}}),
            "chat_template: 666666666666, now 999999999999",
        ),
        (
            make(model={**MODEL, "identity": {**IDENTITY_OF_MODEL, "dtype": "bfloat16"}}),
            "dtype: float32, now bfloat16",
        ),
        (make(model={**MODEL, "device": "cpu"}), "device.kind: npu, now cpu"),
        (make(model={**MODEL, "scorer": {"name": "plain"}}), "scorer.name: forest, now plain"),
        (make(model={**MODEL, "versions": {"torch": "2.12.0"}}), "versions.torch: 2.13.0, now 2.12.0"),
        (
            make(data={"piqa": replace(DATA["piqa"], sha256="4" * 64)}),
            "data.piqa.sha256: 333333333333, now 444444444444",
        ),
    ],
)
def test_what_changes_a_score_is_in_it_and_is_named(changed: dict[str, Any], name: str) -> None:
    (difference,) = differences(make(), changed)
    assert difference.startswith(name)


def test_other_tasks_are_named() -> None:
    fewer = make(RunConfig(model=M, task=("piqa",)))
    kinds = [difference.partition(":")[0] for difference in differences(make(), fewer)]
    assert kinds == ["protocol.tasks.boolq", "settings.tasks"]


def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the configuration that evalkit reads from now on."""
    root = tmp_path / "configs"
    shutil.copytree(configs_dir(), root)
    monkeypatch.setattr(task_files, "configs_dir", lambda: root)
    return root


@pytest.mark.parametrize(
    ("file", "old", "new", "is_same"),
    [
        ("tasks/gpt4all/piqa.yaml", "task: piqa", "# a comment\ntask:   piqa  # and another", True),
        ("tasks/gpt4all/boolq.yaml", "boolq_text", "boolq_target", True),  # another task's
        ("suites/gpt4all.yaml", "title: GPT4All", "title: Other", True),
        ("tasks/gpt4all/piqa.yaml", "piqa_text", "boolq_text", False),
        ("tasks/gpt4all/piqa.yaml", "aggregation: mean", "aggregation: median", False),
        ("tasks/gpt4all/piqa.yaml", "!function", "!other", False),
        ("tasks/_template", "num_fewshot: 0", "num_fewshot: 1", False),  # included
    ],
)
def test_of_configuration_only_what_makes_requests_and_metrics_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, old: str, new: str, is_same: bool
) -> None:
    root = copied(tmp_path, monkeypatch)
    before = identities.protocol_sha256("piqa")
    text = (root / file).read_text(encoding="utf-8")
    assert old in text
    (root / file).write_text(text.replace(old, new), encoding="utf-8")
    (root / "tasks" / "a_new_suite").mkdir()
    (root / "tasks" / "a_new_suite" / "x.yaml").write_text("task: x")
    assert (identities.protocol_sha256("piqa") == before) is is_same
    assert identities.protocol_sha256("boolq") != before


def test_another_device_of_the_same_kind_is_the_same() -> None:
    assert make(model={**MODEL, "device": "npu:0"}) == make()


@pytest.mark.parametrize("room", ["data", "models", "sandbox", "scoring", "store", "tasks"])
def test_the_code_that_answers_is_part_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: str) -> None:
    package = tmp_path / "evalkit"
    for name in ("report", "store", "a_new_room", room):
        (package / name).mkdir(parents=True, exist_ok=True)
    (package / room / "x.py").write_text("1")
    monkeypatch.setattr(identities, "__file__", str(package / "store" / "identity.py"))
    before = identities.code_sha256()
    for other in ("report/gate.py", "a_new_room/x.py", "cli.py", "stats.py", "marks.py"):
        (package / other).write_text("# a comment")
    assert identities.code_sha256() == before
    (package / room / "x.py").write_text("2")
    assert identities.code_sha256() != before


# What a run calls beside the code that answers: it asks, looks, waits, shows. A module that is new here belongs either
# in this list or in `ANSWERING`.
BYSTANDERS = (
    "api", "baselines", "cli", "comparison", "config/options", "config/run_config", "config/yaml_files", "errors",
    "evaluation", "languages", "paths", "records", "replacing", "report", "results", "stats", "streams", "tables",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.model
def test_every_module_that_a_run_calls_counts_or_is_known_to_stand_by(tmp_path: Path) -> None:
    watched = f"""
import sys, threading
called = set()
def see(frame, event, argument):
    name = frame.f_globals.get("__name__", "")
    if event == "call" and name.startswith("evalkit.") and frame.f_code.co_name != "<module>":
        called.add(name.partition(".")[2].replace(".", "/"))
threading.setprofile(see)
sys.setprofile(see)
from evalkit.cli import main
try:
    main(["run", "--model", "tiny", "--suite", "truthfulqa", "--suite", "humaneval", "--limit", "2",
          "--data", "samples", "--output", {str(tmp_path)!r}])
except SystemExit as exit:
    assert not exit.code, exit.code
finally:
    sys.setprofile(None)
print("called", *sorted(called))
"""
    done = subprocess.run([sys.executable, "-c", watched], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    called = set(done.stdout.splitlines()[-1].split()[1:])
    answering = {name.removesuffix(".py") for name in identities.ANSWERING}
    known = (*answering, *BYSTANDERS)
    assert not [name for name in called if not any(PurePath(name).is_relative_to(room) for room in known)]
    # What tasks make is asked of those that were not published.
    idle = {room for room in answering if not any(PurePath(name).is_relative_to(room) for name in called)}
    assert idle == {"records/made"}
    # Rooms that stand by have no part that answers but those that are listed.
    assert {"evaluation/evaluated", "results/writing", "records/samples"} <= answering & called


def test_asked_is_what_the_command_says() -> None:
    config = RunConfig(model=replace(M, batch_size="3"), task=("piqa",), output="o", data=("x=samples",))
    assert asked(config)["data"] == ["x=samples"]
    assert not {"output", "batch_size", "fresh", "resume", "source_file"} & set(asked(config))


def test_many_differences_stay_one_line() -> None:
    found = differences({str(n): n for n in range(9)}, {"9": "x" * 99})
    assert found[-1] == f"9: null, now {'x' * 57}..."


def test_the_time_of_a_run_is_that_of_its_sessions() -> None:
    sessions = [
        RunSession(started="2026-01-01T10:00:00+00:00"),
        # killed, went on later
        RunSession(started="2026-01-01T12:00:00+00:00", previous_until="2026-01-01T10:30:00+00:00"),
        RunSession(started="2026-01-02T09:00:00+00:00", previous_until="2026-01-01T12:00:05+00:00"),
    ]
    assert runs.earlier_seconds(sessions[:1]) == 0
    assert runs.earlier_seconds(sessions) == 30 * 60 + 5
    assert runs.earlier_seconds([RunSession(started="unknown"), RunSession(started="2026-01-01T12:00:00+00:00")]) == 0
    back = [sessions[1], RunSession(started="t", previous_until="2026-01-01T11:00:00+00:00")]  # the clock was set back
    assert runs.earlier_seconds(back) == 0


def test_a_resumed_run_knows_when_the_last_session_wrote(tmp_path: Path) -> None:
    opened = runs.open_run(tmp_path, {"a": 1}, {"b": 2})
    opened.journal.close()
    assert opened.last_written is None
    os.utime(opened.folder / runs.JOURNAL_FILE, (1_000_000, 1_000_000))
    again = runs.open_run(tmp_path, {"a": 1}, {"b": 2})
    again.journal.close()
    assert again.last_written == 1_000_000
    runs.begin_session(again.folder, ["evalkit"], "1970-01-12T13:00:00+00:00", again.last_written)
    assert runs.read_sessions(again.folder)[-1].previous_until == "1970-01-12T13:46:40+00:00"
