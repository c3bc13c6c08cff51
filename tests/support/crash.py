"""Kill real runs of the tiny model, resume them, and compare with a run that was left alone.

A program of its own: it imports everything once and forks a child for each run, so that a run costs a second, not ten.
The parent never computes anything: a fork of a process whose torch has started threads would hang.

    python -m tests.support.crash FOLDER --random 50 --calls all
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import time
import warnings
from pathlib import Path
from typing import Any

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

TASKS = ("arc_easy", "bigbench_geometric_shapes")
# Python 3.12 warns of forking beside threads; there are none that matter here.
warnings.filterwarnings("ignore", ".*fork", DeprecationWarning)


def child(folder: Path, fail_at: int | None, error: int | None, scorer: str) -> None:
    """Run or continue the run; never returns. The exit code is that of `evalkit run`."""
    import torch

    from evalkit.config.run_config import ModelConfig, RunConfig
    from evalkit.errors import EvalkitError
    from evalkit.evaluation.interrupt import Interrupted, StopSignals
    from evalkit.evaluation.run import run
    from evalkit.store import files
    from tests.support.faults import FaultyOs

    os.dup2(os.open(folder.parent / f"{folder.name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666), 2)
    torch.set_num_threads(1)
    note_packs(folder)
    faulty = FaultyOs(fail_at, error, stuck=error is not None)
    files.os = faulty  # type: ignore[assignment]
    model = ModelConfig(name="tiny", batch_size="1", max_batch_tokens=256, scorer=scorer)
    config = RunConfig(model=model, task=TASKS, limit=2, output=str(folder))
    code = 0
    try:
        with StopSignals() as signals:
            run(config, ["evalkit", "run"], signals=signals)
    except Interrupted as stop:
        code = stop.exit_code
    except EvalkitError as problem:
        sys.stderr.write(f"error: {problem}\n")
        code = problem.exit_code
    Path(f"{folder}.calls").write_text(str(len(faulty.calls)))
    sys.stderr.flush()
    os._exit(code)


def note_packs(folder: Path) -> None:
    """Have every pack and every batch of texts noted when its computation is finished."""
    from evalkit.models.openmind import OpenMindLM
    from evalkit.store import ledger

    log = os.open(f"{folder}.computed", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    iter_packs, generate, stream = ledger.iter_packs, OpenMindLM._generate, OpenMindLM._stream

    def noted_packs(*arguments: Any) -> Any:
        for result in iter_packs(*arguments):
            os.write(log, f"pack {result.pack}\n".encode())
            yield result

    def noted_texts(self: Any, requests: Any, *arguments: Any) -> Any:
        texts = generate(self, requests, *arguments)
        os.write(log, f"texts {requests[0].doc_id}\n".encode())
        return texts

    def noted_stream(self: Any, streams: Any, batches: Any, *arguments: Any) -> Any:
        asked = {}

        def noted_batches() -> Any:
            for number, positions in batches:
                asked[number] = positions
                yield number, positions

        for number, texts in stream(self, streams, noted_batches(), *arguments):
            os.write(log, f"texts {asked[number][0]}\n".encode())
            yield number, texts

    ledger.iter_packs = noted_packs
    OpenMindLM._stream = noted_stream  # type: ignore[method-assign]
    OpenMindLM._generate = noted_texts  # type: ignore[method-assign]


def start(folder: Path, fail_at: int | None = None, error: int | None = None, scorer: str = "forest") -> int:
    """Fork a run; returns its process id."""
    process = os.fork()
    if process == 0:
        try:
            child(folder, fail_at, error, scorer)
        finally:
            os._exit(99)
    return process


def finish(process: int) -> int:
    """Return the exit code of a child, or minus its signal."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def journal_of(folder: Path) -> Path | None:
    """Return the journal of the newest run."""
    found = sorted((folder / "tiny").glob("*/journal.jsonl"))
    return found[-1] if found else None


def finished_work(folder: Path) -> set[str]:
    """Return what the journal has, as `note_packs` calls it."""
    from evalkit.store import journal

    path = journal_of(folder)
    if path is None:
        return set()
    names = set()
    for record in journal.read(path).records:
        if record["kind"] == "pack":
            names.add(f"pack {record['pack']}")
        elif record["kind"] == "texts":
            names.add(f"texts {record['requests'][0]}")
    return names


def outcome(folder: Path) -> dict[str, Any]:
    """Return everything of a finished run that must be equal, times aside."""
    path = journal_of(folder)
    assert path is not None
    return outcome_of(path.parent)


def outcome_of(run: Path) -> dict[str, Any]:
    """Return the same of one run's folder."""
    record = json.loads((run / "run.json").read_text())
    for key in ("date", "total_evaluation_time_seconds"):
        record.pop(key, None)
    for key in ("started", "duration_seconds", "sessions"):
        record["evalkit"].pop(key)
    record["evalkit"]["config"].pop("output")
    report = (run / "report.md").read_text().splitlines()
    return {
        "journal": (run / "journal.jsonl").read_bytes().hex(),
        "samples": (run / "samples.jsonl").read_text(),
        "report": [line for line in report if not line.startswith(("- Date:", "- Duration:"))],
        "record": record,
        "files": sorted(entry.name for entry in run.iterdir()),
    }


def check(folder: Path, whole: dict[str, Any], what: str) -> list[str]:
    """Resume a killed run; returns what is wrong."""
    problems = []
    path = journal_of(folder)
    if path is None or not (path.parent / "run.json").exists():  # else it was killed after its last write
        there = finished_work(folder)
        computed = Path(f"{folder}.computed")
        computed.unlink(missing_ok=True)
        code = finish(start(folder))
        if code != 0:
            return [f"{what}: resuming ended with {code}: {Path(f'{folder}.log').read_text()[-500:]}"]
        twice = there & set(computed.read_text().splitlines())
        if twice:
            problems.append(f"{what}: computed twice: {sorted(twice)}")
    found = outcome(folder)
    problems += [
        f"{what}: another {key}: {first_difference(whole[key], found[key])}"
        for key in whole
        if found[key] != whole[key]
    ]
    shutil.rmtree(folder, ignore_errors=True)
    return problems


def first_difference(expected: Any, found: Any) -> str:
    """Name where two outcomes part."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in [*expected, *found]:
            if expected.get(key) != found.get(key):
                return f"{key}.{first_difference(expected.get(key), found.get(key))}"
    return f"{str(expected)[:200]} != {str(found)[:200]}"


def race(folder: Path, whole: dict[str, Any], killed_at: int | None) -> list[str]:
    """Start two runs at once, on a killed run or on nothing: each ends with the right results or with a refusal."""
    if killed_at is not None:
        finish(start(folder, fail_at=killed_at))
    codes = [finish(process) for process in [start(folder), start(folder)]]
    text = Path(f"{folder}.log").read_text()
    if 0 not in codes or not set(codes) <= {0, 2} or text.count("another process is writing") != codes.count(2):
        return [f"race: exit codes {codes}: {text[-500:]}"]
    problems = []
    for path in sorted((folder / "tiny").glob("*/run.json")):
        problems += [
            f"race: another {key}: {first_difference(whole[key], value)}"
            for key, value in outcome_of(path.parent).items()
            if value != whole[key]
        ]
    shutil.rmtree(folder)
    return problems


def main() -> None:
    """Print {"points": ..., "killed": ..., "problems": [...]} as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--random", type=int, default=0, help="number of kills at random times")
    parser.add_argument("--calls", action="store_true", help="kill at every call that reaches the disk")
    parser.add_argument("--full", type=int, default=0, help="number of calls at which the disk is full")
    parser.add_argument("--races", type=int, default=0, help="number of times that two runs are started at once")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    # Imported before the forks, and used by the children only.
    import lm_eval.evaluator  # noqa: F401
    import scipy.optimize  # noqa: F401
    from transformers import MistralForCausalLM  # noqa: F401

    import evalkit.evaluation.run
    import evalkit.models.openmind
    import evalkit.models.tiny
    import evalkit.report.run_report  # noqa: F401
    import tests.support.faults  # noqa: F401

    root: Path = options.folder
    root.mkdir(parents=True, exist_ok=True)
    for name in ("whole", "again"):
        began = time.monotonic()
        code = finish(start(root / name))
        seconds = time.monotonic() - began
        assert code == 0, (root / f"{name}.log").read_text()
    calls = int((root / "whole.calls").read_text())
    whole = outcome(root / "whole")
    rng = random.Random(options.seed)
    problems = check(root / "again", whole, "left alone twice")
    killed = points = 0

    def note(code: int, folder: Path, what: str) -> None:
        nonlocal killed, points, problems
        points += 1
        killed += code == -signal.SIGKILL
        problems += check(folder, whole, what)

    for number in range(options.random):
        folder, delay = root / f"random-{number}", rng.uniform(0.0, seconds)
        process = start(folder)
        time.sleep(delay)
        os.kill(process, signal.SIGKILL)
        note(finish(process), folder, f"killed after {delay:.3f} s")
    for call in range(calls) if options.calls else ():
        folder = root / f"call-{call}"
        note(finish(start(folder, fail_at=call)), folder, f"killed in call {call}")
    for call in sorted(rng.sample(range(calls), min(options.full, calls))):
        folder = root / f"full-{call}"
        code = finish(start(folder, fail_at=call, error=28))
        text = Path(f"{folder}.log").read_text()
        if code != 2 or "error: " not in text or "Traceback" in text:
            problems.append(f"disk full in call {call}: exit code {code}: {text[-300:]}")
        note(code, folder, f"disk full in call {call}")
    for number in range(options.races):
        problems += race(root / f"race-{number}", whole, rng.randrange(5, calls) if number % 2 else None)
        points += 1
    summary = {"points": points, "killed": killed, "calls": calls, "seconds": seconds, "problems": problems}
    sys.stdout.write(json.dumps(summary) + "\n")


if __name__ == "__main__":
    main()
