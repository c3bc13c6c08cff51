"""`evalkit run` after an interruption: the same results, refusals, exit codes, reuse, partial reports."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from evalkit.cli import main

pytestmark = [pytest.mark.model, pytest.mark.slow]

REPOSITORY = Path(__file__).resolve().parents[2]
TASKS = ("--task", "arc_easy", "--task", "bigbench_geometric_shapes")
PACKS = ("--max-batch-tokens", "256")


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    """The last bits of a sum depend on the number of threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def evalkit(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="evalkit")


def run(output: Path, *more: object, model: object = "tiny", limit: int = 3) -> Result:
    data = () if model == "tiny" else ("--data", "samples")
    return evalkit("run", "--model", model, *TASKS, "--limit", limit, "--output", output, *PACKS, *data, *more)


def folders(output: Path) -> list[Path]:
    return sorted(path.parent for path in output.glob("*/*/journal.jsonl"))


def newest(output: Path) -> Path:
    return folders(output)[-1]


def samples(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "samples.jsonl").read_text(encoding="utf-8").splitlines()]


def error_line(result: Result) -> str:
    assert result.exit_code == 2, result.output
    line = result.stderr.splitlines()[-1]
    assert line.startswith("error: ")
    return line


Interrupt = Callable[..., None]


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch) -> Interrupt:
    """A function that runs a command and has a signal come after ``commits`` finished batches."""
    from evalkit.store.ledger import Ledger

    commit = Ledger._commit

    def interrupted(output: Path, commits: int, *more: object, number: int = signal.SIGINT, **options: Any) -> None:
        count = 0

        def counted(self: Ledger, *arguments: Any) -> None:
            nonlocal count
            commit(self, *arguments)
            count += 1
            if count == commits:
                signal.raise_signal(number)

        with monkeypatch.context() as patched:
            patched.setattr(Ledger, "_commit", counted)
            result = run(output, *more, **options)
        assert result.exit_code == 128 + number, result.output
        assert "the same command goes on from there" in result.stderr
        assert "log-likelihoods are there" in result.stderr
        assert count == commits

    return interrupted


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was left alone."""
    import torch

    torch.set_num_threads(1)
    output = tmp_path_factory.mktemp("whole")
    result = run(output)
    assert result.exit_code == 0, result.output
    return newest(output)


def assert_same(found: Path, expected: Path) -> None:
    for name in ("journal.jsonl", "samples.jsonl"):
        assert (found / name).read_bytes() == (expected / name).read_bytes()
    reports = [
        [line for line in (folder / "report.md").read_text().splitlines() if not line.startswith(("- Date", "- Dur"))]
        for folder in (found, expected)
    ]
    assert reports[0] == reports[1]


def test_a_run_that_goes_on_under_another_memory_limit_multiplies_as_before(
    tmp_path: Path, interrupt: Interrupt, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`ulimit` and control groups decide whether weights are ordered for generation; the journal keeps what was."""
    from evalkit.evaluation import run as module
    from evalkit.scoring import prepacked

    interrupt(tmp_path, 1)
    with (newest(tmp_path) / "journal.jsonl").open(encoding="utf-8") as lines:
        before = json.loads(next(lines).partition(" ")[2])["work"]["prepacks"]  # behind its checksum
    if not before:
        pytest.skip("this build of torch has no ordered weights")
    told, session = [], module.Session

    def telling(*arguments: Any, **options: Any) -> Any:
        told.append(options["prepacks"])
        return session(*arguments, **options)

    monkeypatch.setattr(module, "Session", telling)
    monkeypatch.setattr(prepacked, "whole_bytes", lambda: 0)
    result = run(tmp_path)
    assert result.exit_code == 0, result.output
    assert told == [True]
    assert_same(newest(tmp_path), whole)


@pytest.mark.parametrize("commits", [1, 4])
def test_another_batch_budget_and_order_of_tasks_give_the_same_bits(
    tmp_path: Path, interrupt: Interrupt, whole: Path, commits: int
) -> None:
    interrupt(tmp_path, commits)
    reversed_tasks = (*TASKS[2:], *TASKS[:2])
    result = evalkit(
        "run", "--model", "tiny", *reversed_tasks, "--limit", 3, "--output", tmp_path, "--max-batch-tokens", 99,
        "--batch-size", 2,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert f"continuing {newest(tmp_path)}: " in result.stderr
    assert len(folders(tmp_path)) == 1
    assert_same(newest(tmp_path), whole)


def test_interrupted_again_and_again(tmp_path: Path, interrupt: Interrupt, whole: Path) -> None:
    for _ in range(3):
        interrupt(tmp_path, 1, number=signal.SIGTERM)
    assert run(tmp_path, "--resume").exit_code == 0
    assert_same(newest(tmp_path), whole)
    assert len(json.loads((newest(tmp_path) / "run.json").read_text())["evalkit"]["sessions"]) == 4
    assert "no unfinished run to resume" in error_line(run(tmp_path, "--resume"))


def test_fresh_starts_anew(tmp_path: Path, interrupt: Interrupt, whole: Path) -> None:
    interrupt(tmp_path, 2)
    assert run(tmp_path, "--fresh").exit_code == 0
    first, second = folders(tmp_path)
    assert not (first / "run.json").exists()
    assert_same(second, whole)
    assert "fresh: contradicts resume" in error_line(run(tmp_path, "--fresh", "--resume"))


def test_the_plain_scorer_too(tmp_path: Path, interrupt: Interrupt) -> None:
    assert run(tmp_path / "whole", "--scorer", "plain").exit_code == 0
    interrupt(tmp_path / "parts", 3, "--scorer", "plain")
    assert run(tmp_path / "parts", "--scorer", "plain").exit_code == 0
    assert_same(newest(tmp_path / "parts"), newest(tmp_path / "whole"))


@pytest.mark.parametrize(("scorer", "commits"), [("forest", 3), ("plain", 64)])
def test_memory_that_runs_out_at_some_packs(
    tmp_path: Path, interrupt: Interrupt, monkeypatch: pytest.MonkeyPatch, scorer: str, commits: int
) -> None:
    """Memory runs out once. After it, packs are split as in the run left alone, though there is memory again."""
    from evalkit.scoring.packed import ForestScorer
    from evalkit.scoring.plain import PlainScorer
    from evalkit.store.ledger import Ledger

    is_scoring = False
    score = Ledger.score

    def noted_score(*arguments: Any) -> Any:
        nonlocal is_scoring
        is_scoring = True
        return score(*arguments)

    monkeypatch.setattr(Ledger, "score", noted_score)

    def fails_once(patched: pytest.MonkeyPatch, cls: type, forward: Any, rows: Callable[..., int]) -> None:
        calls = 0

        def limited(self: Any, *arguments: Any) -> Any:
            nonlocal calls
            calls += is_scoring and rows(*arguments) > 4  # can be split, and is not the probe
            if calls == 2:
                calls += 1
                raise RuntimeError("NPU out of memory. Tried to allocate 2.00 GiB")
            return forward(self, *arguments)

        patched.setattr(cls, "launch", limited)

    def requests_of(rows: Any, pack: Any) -> int:
        return sum(len(rows.requests[row]) for tree in pack.trees for row in range(tree.start, tree.stop))

    arguments = ("--scorer", scorer, "--max-batch-tokens", 300)
    for name in ("whole", "parts"):
        is_scoring = False
        with monkeypatch.context() as patched:
            fails_once(patched, ForestScorer, ForestScorer.launch, requests_of)
            fails_once(patched, PlainScorer, PlainScorer.launch, lambda _rows, pack: len(pack.trees))
            if name == "whole":
                assert run(tmp_path / name, *arguments, limit=6).exit_code == 0
            else:
                interrupt(tmp_path / name, commits, *arguments, limit=6)
    assert run(tmp_path / "parts", *arguments, limit=6).exit_code == 0
    work = json.loads((newest(tmp_path / "whole") / "run.json").read_text())["evalkit"]["work"]
    assert len(work["sections"][0]["split_packs"]) > 1
    assert_same(newest(tmp_path / "parts"), newest(tmp_path / "whole"))


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    from tests.unit.models.conftest import write_checkpoint

    return write_checkpoint(tmp_path / "checkpoints" / "mine")


def change_weights(folder: Path, change: Callable[[Any], Any]) -> None:
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    tensors = load_file(path)
    tensors["lm_head.weight"] = change(tensors["lm_head.weight"])
    save_file(tensors, path, metadata={"format": "pt"})


def test_changed_weights_with_the_same_name(tmp_path: Path, checkpoint: Path, interrupt: Interrupt) -> None:
    interrupt(tmp_path / "out", 2, model=checkpoint)
    change_weights(checkpoint, lambda weight: weight * 1.01)
    line = error_line(run(tmp_path / "out", model=checkpoint))
    assert "this unfinished run cannot be continued: model.model_fingerprint: " in line
    assert "--fresh starts anew" in line
    assert run(tmp_path / "out", "--fresh", model=checkpoint).exit_code == 0
    # The weights as they were: the old run goes on.
    change_weights(checkpoint, lambda weight: weight / 1.01)


def test_another_limit_is_another_run(tmp_path: Path, interrupt: Interrupt) -> None:
    interrupt(tmp_path, 2)
    result = run(tmp_path, limit=2)
    assert result.exit_code == 0
    assert "is another one (limit: 3, now 2); starting anew" in result.stderr
    assert len(folders(tmp_path)) == 2
    assert "settings.limit: 3, now 1" in error_line(run(tmp_path, "--resume", limit=1))


def test_damage_names_the_line(tmp_path: Path, interrupt: Interrupt) -> None:
    interrupt(tmp_path, 4)
    path = newest(tmp_path) / "journal.jsonl"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 8
    path.write_bytes(data)
    assert f"{path}:" in error_line(run(tmp_path))
    assert path.read_bytes() == bytes(data)


def test_not_a_number_is_no_score_and_exit_code_3(tmp_path: Path, checkpoint: Path) -> None:
    def spoil(weight: Any) -> Any:
        spoiled = weight.clone()
        spoiled[0] = math.nan
        return spoiled

    change_weights(checkpoint, spoil)
    result = run(tmp_path / "out", "--scorer", "plain", model=checkpoint)
    assert result.exit_code == 3, result.output
    assert "3 of 3 failed" in result.stdout
    assert "some samples failed" in result.stderr
    found = samples(newest(tmp_path / "out"))
    assert all(sample["metrics"]["acc"] is None for sample in found if sample["task"] == "arc_easy")
    assert {sample["details"]["failed"] for sample in found} == {"log-probability", "generation"}
    text = (newest(tmp_path / "out") / "run.json").read_text()
    numbers: list[str] = []  # NaN and infinities, which are no JSON; the word may stand in a warning
    assert json.loads(text, parse_constant=numbers.append)["results"]["arc_easy"]["acc,none"] is None
    assert numbers == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_not_writable(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir(mode=0o500)
    assert "--output" in error_line(run(tmp_path / "out"))


# --- reuse and partial ------------------------------------------------------------------------------------------------


def test_answers_of_other_code_are_named_where_they_are_taken_over(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evalkit.store.identity.code_sha256", lambda: "0" * 64)
    result = run(tmp_path, "--reuse", whole)
    assert result.exit_code == 0, result.output
    said = "its answers were computed otherwise: code.sha256: "
    assert f"warning: --reuse {whole}: {said}" in result.stderr
    record = json.loads((newest(tmp_path) / "run.json").read_text())["evalkit"]
    assert any(said in finding for finding in record["preflight"])
    for shown in (
        (newest(tmp_path) / "report.md").read_text(encoding="utf-8"),
        evalkit("gate", newest(tmp_path), "--baseline", whole).stdout,
        evalkit("compare", whole, newest(tmp_path)).stdout,
    ):
        assert shown.count(said) == 1


@pytest.mark.parametrize("digest", ["code_sha256", "protocol_sha256"])
def test_a_run_whose_record_cannot_be_read_says_how_to_go_on_once_that_is_mended(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, digest: str
) -> None:
    def unreadable(*_: Any) -> None:
        raise ValueError("boolq: a document is wrong")

    with monkeypatch.context() as wrong:
        wrong.setattr("evalkit.evaluation.identified.check_task_samples", unreadable)
        said = error_line(run(tmp_path))
    folder = newest(tmp_path)
    assert not (folder / "run.json").exists()
    assert said == (
        f"error: {folder}: not finished, since its record could not be read again: boolq: a document is wrong; "
        f"what was computed is kept: once that is mended, give the same command with --fresh --reuse {folder}, which "
        "takes over the answers to equal requests"
    )
    # It is mended where it was wrong: in evalkit's code, or in a task's or a suite's file.
    monkeypatch.setattr(f"evalkit.store.identity.{digest}", lambda *_: "0" * 64)
    options = re.findall(r"--fresh --reuse \S+(?= starts)", error_line(run(tmp_path)))
    assert options == [f"--fresh --reuse {folder}"]
    result = run(tmp_path, *options[0].split())
    assert result.exit_code == 0, result.output
    assert [s["logprobs"] for s in samples(newest(tmp_path))] == [s["logprobs"] for s in samples(whole)]
    work = json.loads((newest(tmp_path) / "run.json").read_text())["evalkit"]["work"]
    assert all(section["reused"] == section["requests"] > 0 for section in work["sections"])


def test_a_passage_that_is_not_at_the_head_of_its_context_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evalkit.data.layouts import PASSAGES, Passage

    ask = ("run", "--model", "tiny", "--task", "piqa", "--limit", 4, "--output", tmp_path)
    monkeypatch.setitem(PASSAGES, "piqa", Passage(lambda doc: str(doc["goal"]), ("\nAnswer:",)))
    said = error_line(evalkit(*ask))
    assert said.startswith("error: piqa: document 0: its context does not begin with the passage that documents of ")
    assert folders(tmp_path) == []
    monkeypatch.setitem(PASSAGES, "piqa", Passage(lambda doc: f"Question: {doc['goal']}", ("\nAnswer:",)))
    result = evalkit(*ask)
    assert result.exit_code == 0, result.output
    assert all(sample["cluster"] for sample in samples(newest(tmp_path)))


def test_scores_of_a_smaller_run_are_taken_over(tmp_path: Path, whole: Path) -> None:
    result = run(tmp_path, "--reuse", whole, limit=5)
    assert result.exit_code == 0, result.output
    assert "last bits may differ" in result.stdout
    folder = newest(tmp_path)
    found = samples(folder)
    marked = {(sample["task"], sample["doc_id"]) for sample in found if sample["details"].get("reused")}
    assert marked == {(sample["task"], sample["doc_id"]) for sample in samples(whole)}
    by_id = {(sample["task"], sample["doc_id"]): sample for sample in found}
    for sample in samples(whole):
        assert by_id[sample["task"], sample["doc_id"]]["logprobs"] == sample["logprobs"]
    work = json.loads((folder / "run.json").read_text())["evalkit"]["work"]
    assert work["reused_from"] == whole.name
    assert all(section["reused"] for section in work["sections"])
    assert run(tmp_path / "alone", limit=5).exit_code == 0
    for one, other in zip(found, samples(newest(tmp_path / "alone")), strict=True):
        assert one["metrics"] == other["metrics"]
        assert one["logprobs"] == pytest.approx(other["logprobs"], abs=1e-4)
    assert "settings" not in error_line(run(tmp_path, "--reuse", whole, "--scorer", "plain"))


def test_a_report_of_an_unfinished_run(tmp_path: Path, interrupt: Interrupt, whole: Path) -> None:
    interrupt(tmp_path, 4)
    folder = newest(tmp_path)
    assert "unfinished run: " in error_line(evalkit("report", folder))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    result = evalkit("report", "--partial", folder)
    assert result.exit_code == 0, result.output
    assert "**partial: the run is not finished (" in result.stdout
    tables = result.stdout.count("|  Task") + result.stdout.count("| Task") + result.stdout.count("|Task")
    assert result.stdout.count(" documents**") == tables > 0
    assert "Summary" not in result.stdout
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    # A finished run is reported as ever.
    assert evalkit("report", "--partial", whole).stdout.strip() == (whole / "report.md").read_text().strip()
    assert "no run here" in error_line(evalkit("report", "--partial", tmp_path))


def test_a_partial_report_has_the_metrics_of_finished_documents(
    tmp_path: Path, interrupt: Interrupt, whole: Path
) -> None:
    from evalkit import read_run
    from evalkit.evaluation.partial import partial_record

    interrupt(tmp_path, 4)
    record = partial_record(newest(tmp_path))
    done = sum(there for there, _ in record.partial.documents.values())
    assert 0 < done < 6
    assert record.partial.documents["arc_easy"][1] == 3
    assert all(value.failed == 0 for of_task in record.metrics.values() for value in of_task.values())
    found = read_run(newest(tmp_path), partial=True)
    assert len(found.samples()) == done
    frame = found.to_frame()
    assert set(frame.kind) == {"task"}
    assert frame.partial.all()


def test_a_partial_report_is_not_made_by_tasks_that_have_changed(
    tmp_path: Path, interrupt: Interrupt, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evalkit.store import identity

    interrupt(tmp_path, 4)
    now = identity.protocol_sha256
    monkeypatch.setattr(identity, "protocol_sha256", lambda name: "0" * 64 if name == "arc_easy" else now(name))
    said = error_line(evalkit("report", "--partial", newest(tmp_path)))
    assert "its tasks have changed since the run was begun: protocol.tasks.arc_easy: " in said


PROGRAMS = ("--suite", "humaneval", "--suite", "humaneval_chat", "--max-new-tokens", "12", "--batch-size", "2")


def test_a_report_runs_no_programs_and_gives_each_request_its_own_answer(
    tmp_path: Path, interrupt: Interrupt, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evalkit.evaluation.partial import partial_record
    from evalkit.sandbox import Checker

    interrupt(tmp_path, 8, *PROGRAMS)
    folder = newest(tmp_path)
    with monkeypatch.context() as patched:
        for name in ("check", "submit"):
            patched.setattr(Checker, name, lambda *_: pytest.fail("a report ran a program"))
        patched.setattr(Checker, "__enter__", lambda *_: pytest.fail("a report made a sandbox"))
        seen = _answers_of_partial(folder, patched)
        record = partial_record(folder)
        shown = evalkit("report", "--partial", folder)
    assert shown.exit_code == 0, shown.output
    assert "problems are there**" in shown.stdout
    assert "a report runs no programs" in shown.stdout
    assert not {"humaneval", "humaneval_chat"} & set(record.metrics)
    counted = record.partial.documents
    assert 0 < counted["humaneval"][0] + counted["humaneval_chat"][0] < 6
    # The oracle is the run when it is finished.
    assert run(tmp_path, *PROGRAMS).exit_code == 0
    whole = {(s["task"], s["doc_id"]): s["generated"] for s in samples(folder) if s["generated"]}
    assert seen
    assert all(whole[key] == [text] for key, text in seen.items())


def _answers_of_partial(folder: Path, patched: pytest.MonkeyPatch) -> dict[tuple[str, int], str]:
    """Return by (task, doc_id) what a partial report takes for the generated texts."""
    from evalkit.evaluation import partial

    seen: dict[tuple[str, int], str] = {}
    answer = partial.JournalAnswers.texts

    def watched(self: Any, requests: Any, session: Any) -> Any:
        found = answer(self, requests, session)
        missing = set(found.marks["missing"])
        seen.update(((r.task, r.doc_id), found.answers[k]) for k, r in enumerate(requests) if k not in missing)
        return found

    patched.setattr(partial.JournalAnswers, "texts", watched)
    partial.partial_record(folder)
    return seen


def test_a_partial_report_of_programs_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from evalkit.store.ledger import Ledger

    commit, asked = Ledger._commit, ("--suite", "humaneval", "--max-new-tokens", "8", "--batch-size", "1")

    def stop(self: Ledger, *arguments: Any) -> None:
        commit(self, *arguments)
        signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "_commit", stop)
        stopped = evalkit("run", "--model", "tiny", "--limit", 3, "--output", tmp_path, *asked)
    assert stopped.exit_code == 130, stopped.output
    shown = evalkit("report", "--partial", newest(tmp_path))
    assert shown.exit_code == 0, shown.output
    assert "**partial: the texts of 1 of 3 problems are there**" in shown.stdout


def test_texts_of_chat_models_that_were_taken_over_are_marked(tmp_path: Path) -> None:
    asked = ("run", "--model", "tiny", "--suite", "humaneval_chat", "--max-new-tokens", 8, "--output", tmp_path)
    assert evalkit(*asked, "--limit", 2).exit_code == 0
    source = newest(tmp_path)
    configs = json.loads((source / "run.json").read_text(encoding="utf-8"))["configs"]
    assert configs["humaneval_chat"]["generation_kwargs"]["max_gen_toks"] == 8  # as asked, not as the task's file says
    assert evalkit(*asked, "--limit", 3, "--reuse", source).exit_code == 0
    assert [bool(sample["details"].get("reused")) for sample in samples(newest(tmp_path))] == [True, True, False]


# --- processes --------------------------------------------------------------------------------------------------------

SIGNALLED = """
import os, signal, sys
from evalkit.store.ledger import Ledger
commit, count = Ledger._commit, 0
def counted(self, *arguments):
    global count
    commit(self, *arguments)
    count += 1
    if count == 2:
        for number in sys.argv[-1].split():
            os.kill(os.getpid(), int(number))
Ledger._commit = counted
from evalkit.cli import main
main(sys.argv[1:-1])
"""


def process(output: Path, signals: str) -> subprocess.CompletedProcess[str]:
    arguments = ["run", "--model", "tiny", *TASKS, "--limit=3", f"--output={output}", "--max-batch-tokens=256"]
    return subprocess.run(
        [sys.executable, "-c", SIGNALLED, *arguments, signals],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.mark.parametrize(("signals", "code"), [("2", 130), ("15", 143), ("2 2", -2)])
def test_exit_codes_of_a_stopped_process(tmp_path: Path, whole: Path, signals: str, code: int) -> None:
    done = process(tmp_path, signals)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    if code > 0:
        assert "the same command goes on from there" in done.stderr
    assert run(tmp_path).exit_code == 0
    assert_same(newest(tmp_path), whole)


def test_the_documentation_names_every_field(whole: Path) -> None:
    text = (REPOSITORY / "docs" / "results.md").read_text(encoding="utf-8")
    evalkit_part = json.loads((whole / "run.json").read_text())["evalkit"]
    named = set(re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL)))
    for schema in ("run.schema.json", "sample.schema.json"):  # which it refers to for the keys of the record
        named |= set(re.findall(r'"(\w+)": \{', (REPOSITORY / "docs" / schema).read_text(encoding="utf-8")))
    fields = set(evalkit_part) | set(samples(whole)[0])
    fields |= {field for part in ("model", "environment", "scorer", "work") for field in evalkit_part[part]}
    fields |= {field for section in evalkit_part["work"]["sections"] for field in section} - {"sections"}
    for entries in (evalkit_part["data"], *evalkit_part["tasks"].values()):
        fields |= {field for entry in entries.values() for field in entry}
    for line in (whole / "journal.jsonl").read_text().splitlines():
        record = json.loads(line[9:])
        fields |= set(record) | {record["kind"]}
    assert sorted(fields - named - {"sections"}) == []
