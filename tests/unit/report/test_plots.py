"""Figures for papers: well-formed, the same bytes each time, names as text, clear words where something is missing."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from click.testing import CliRunner

from evalkit.cli import main
from evalkit.comparison.points import read_data
from evalkit.errors import ConfigError, StoreError
from evalkit.languages import ENGLISH, load_language
from evalkit.records.model import RunRecord
from evalkit.report import plots
from evalkit.report.charts import charted_models, suite_groups, task_groups
from evalkit.report.plots import checked_format, plot_language, plot_runs, write_plot
from tests.support.report_runs import HOSTILE, random_samples, write_samples

pytest.importorskip("matplotlib", reason="matplotlib is not installed")
TASKS = ("arc_challenge", "arc_easy", "boolq", "hellaswag", "openbookqa", "piqa", "winogrande")


def gpt4all(folder: Path, name: str = "org/name", **changes: object) -> RunRecord:
    samples = [s for seed, task in enumerate(TASKS) for s in random_samples(task, 6, seed)]
    return write_samples(folder, samples, name, **changes)


@pytest.mark.parametrize("kind", ["suites", "tasks"])
def test_formats(tmp_path: Path, kind: str) -> None:
    folder = gpt4all(tmp_path / "run").folder
    starts = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}
    for form, start in starts.items():
        path = tmp_path / f"{kind}.{form}"
        assert plot_runs([folder, folder], ["openhermes-2-mistral-7b"], path, kind, "en") is None
        first = path.read_bytes()
        assert first.startswith(start)
        plot_runs([folder, folder], ["openhermes-2-mistral-7b"], path, kind, "en")
        assert path.read_bytes() == first
    ET.parse(tmp_path / f"{kind}.svg")
    assert b"/Type3" not in (tmp_path / f"{kind}.pdf").read_bytes()


@pytest.mark.parametrize("name", [*HOSTILE[:3], HOSTILE[7], HOSTILE[8], r"$\frac{1}{", "模型 😀", "a_b^c%&#"])
def test_names_are_text(tmp_path: Path, name: str) -> None:
    runs = [read_data(gpt4all(tmp_path / "run", name))]
    models = charted_models(runs, [])
    for kind, groups in (("suites", suite_groups(models)), ("tasks", task_groups(models, runs))):
        path = tmp_path / f"{kind}.svg"
        write_plot(path, groups, models, kind)
        tags = {element.tag.rpartition("}")[2] for element in ET.parse(path).iter()}
        assert not tags & {"script", "img", "foreignObject", "a"}


def test_what_is_no_score_says_so_in_the_figure(tmp_path: Path) -> None:
    runs = [read_data(gpt4all(tmp_path / "run", verdict="samples", limit=6))]
    (model,) = charted_models(runs, [])
    assert plots._label(model) == "org/name\n(samples: not a score)\n(limited: first 6 of each task)"


def test_nothing_to_draw(tmp_path: Path) -> None:
    folder = write_samples(tmp_path / "run", random_samples("piqa", 5, 1)).folder
    with pytest.raises(ConfigError, match="nothing to draw: no suite of these runs has a score"):
        plot_runs([folder], [], tmp_path / "x.svg", "suites", "en")
    plot_runs([folder], [], tmp_path / "x.svg", "tasks", "en")


def test_unknown_format() -> None:
    with pytest.raises(ConfigError, match=r"x\.bmp: no known picture format; name it \.svg, \.png or \.pdf"):
        checked_format(Path("x.bmp"))


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = gpt4all(tmp_path / "run").folder
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = CliRunner().invoke(main, ["plot", str(folder), "--out", str(tmp_path / "x.svg")])
    assert result.exit_code == 2
    assert "pip install matplotlib (or -e '.[plot]' in evalkit's folder)" in result.stderr
    assert not (tmp_path / "x.svg").exists()


def test_without_a_chinese_font_labels_are_english(monkeypatch: pytest.MonkeyPatch) -> None:
    chinese = load_language("zh")
    monkeypatch.setattr(plots, "chinese_font", lambda: None)
    say, note = plot_language(chinese)
    assert say is ENGLISH
    assert note is not None
    assert "labels are English" in note
    monkeypatch.setattr(plots, "chinese_font", lambda: "SimHei")
    assert plot_language(chinese) == (chinese, None)


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    folder = gpt4all(tmp_path / "run").folder
    with pytest.raises(StoreError, match="cannot be written"):
        plot_runs([folder], [], tmp_path / "no" / "x.svg", "suites", "en")


def test_the_command(tmp_path: Path) -> None:
    folder = gpt4all(tmp_path / "run").folder
    out = tmp_path / "figure.svg"
    result = CliRunner().invoke(main, ["plot", str(folder), "--out", str(out), "--kind", "tasks"])
    assert result.exit_code == 0
    assert f"figure in {out}" in result.stderr
