"""compare, gate, explain, report --against and power --run as users type them: output, files, exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from evalkit.cli import main
from tests.support.pairs import draw, flipped, write_values

pytestmark = pytest.mark.torch_free

CARD = "openhermes-2.5-mistral-7b"


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    values = draw(600, 0.6, 1)
    write_values(tmp_path / "a", {"truthfulqa_mc": values})
    write_values(tmp_path / "b", {"truthfulqa_mc": flipped(values, 0.0, 0.1, 2)})
    return tmp_path / "a", tmp_path / "b"


def evalkit(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="evalkit")


def test_gate_exit_codes_and_files(pair: tuple[Path, Path], tmp_path: Path) -> None:
    a, b = pair
    files = {name: tmp_path / "out" / name for name in ("junit", "markdown", "json")}
    options = [word for name, path in files.items() for word in (f"--{name}", path)]
    found = evalkit("gate", b, "--baseline", a, *options)
    assert found.exit_code == 1
    assert found.stdout.startswith("### ❌ WORSE")
    assert files["markdown"].read_text(encoding="utf-8").rstrip() == found.stdout.rstrip()
    assert json.loads(files["json"].read_text(encoding="utf-8"))["exit_code"] == 1
    assert "<failure" in files["junit"].read_text(encoding="utf-8")
    assert evalkit("gate", a, "--baseline", a).exit_code == 0
    assert evalkit("gate", a, "--baseline", b).exit_code == 0
    assert evalkit("gate", b, "--baseline", a, "--margin", 11).exit_code == 3
    assert evalkit("gate", b, "--baseline", a, "--margin", 20, "--alpha", 0.01, "--suite", "truthfulqa").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{a}"], "--baseline: give the run or the published result"),
        (["--baseline", "{a}"], "give either the folder of a finished run, or --run-model MODEL"),
        (["{a}", "--run-model", "tiny", "--baseline", "{a}"], "give either"),
        (["{a}", "--baseline", "{a}", "--device", "cpu"], "--device goes with --run-model"),
        (["{a}", "--baseline", "{a}", "--order-seed", "3"], "--order-seed goes with --run-model"),
        (["{a}", "--baseline", "{a}", "--margin", "-1"], "--margin -1"),
        (["{a}", "--baseline", "openhermes-2.5-mistral"], "did you mean 'openhermes-2.5-mistral-7b'"),
        (["{missing}", "--baseline", "{a}"], "no run"),
        (["{a}", "--baseline", "{a}", "--junit", "{a}"], "cannot be written"),
        (["{a}", "--baseline", "{a}", "--allow-different", "colour"], "no such field"),
        (["--run-model", "tiny", "--baseline", CARD], "--run-model needs the folder of a run"),
        (["--run-model", "tiny", "--baseline", "{h}"], "has no suite that can be judged"),
        (["--run-model", "tiny", "--baseline", "{a}", "--suite", "humaneval"], "programs of HumanEval are judged"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(
    pair: tuple[Path, Path], tmp_path: Path, arguments: list[str], words: str
) -> None:
    write_values(tmp_path / "h", {"humaneval": [1.0, 0.0]})
    places = {"a": pair[0], "missing": tmp_path / "nothing", "h": tmp_path / "h"}
    found = evalkit("gate", *(word.format(**places) for word in arguments))
    assert found.exit_code == 2, found.output
    assert words in found.stderr
    assert found.stderr.count("\n") == 1


def test_compare(pair: tuple[Path, Path]) -> None:
    found = evalkit("compare", *pair, "--flips", 1)
    assert found.exit_code == 0
    assert "60 documents: 60 lost, 0 gained." in found.stdout
    assert found.stdout.count("### truthfulqa_mc, document") == 1
    assert len(json.loads(evalkit("compare", *pair, "--format", "json").stdout)["flips"]) == 60
    csv = evalkit("compare", *pair, "--format", "csv").stdout
    assert csv.startswith("task,metric,a,b,difference,low,high,stderr,n,gained,lost,p,")
    assert evalkit("compare", pair[0], pair[0] / "nothing").exit_code == 2
    assert evalkit("compare", *pair, "--flips", -1).exit_code == 2


def test_explain_report_power_and_leaderboard_take_runs(pair: tuple[Path, Path]) -> None:
    a, _ = pair
    assert "sampling error" in evalkit("explain", a, "--against", CARD).stdout
    assert (
        f"--against {a}: that is a run; what differs in settings: none" in evalkit("explain", a, "--against", a).stderr
    )
    report = evalkit("report", a, "--against", CARD, "--against", "openhermes-1-llama2-13b").stdout
    assert "Change/OpenHermes-1-Llama2-13B" in report
    assert report.startswith("# org/name")
    assert evalkit("report", a, "--format", "csv").stdout.startswith("suite,task,version,metric")
    assert "\\toprule" in evalkit("report", a, "--against", CARD, "--format", "latex").stdout
    assert evalkit("report", a, "--against", "nobody").exit_code == 2
    assert "TruthfulQA" in evalkit("power", "--run", a, "--suite", "truthfulqa").stdout
    assert "org/name (run)" in evalkit("leaderboard", a, "--sort", "truthfulqa").stdout


def test_a_finished_run_is_judged_without_torch_and_lm_eval(pair: tuple[Path, Path]) -> None:
    code = (
        "import sys\n"
        "from evalkit.cli import main\n"
        f"for words in (['gate', {str(pair[0])!r}, '--baseline', {str(pair[0])!r}],\n"
        f"              ['compare', {str(pair[0])!r}, {str(pair[1])!r}],\n"
        f"              ['explain', {str(pair[0])!r}, '--against', '{CARD}']):\n"
        "    try:\n"
        "        main(words)\n"
        "    except SystemExit as stop:\n"
        "        assert stop.code == 0, words\n"
        "assert not {'torch', 'lm_eval', 'transformers', 'datasets'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env={**os.environ})
    assert done.returncode == 0, done.stderr
