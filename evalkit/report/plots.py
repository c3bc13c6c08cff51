"""The report's charts for papers, by matplotlib: suites side by side, or every task, with 95 % intervals.

Names are untrusted: they are drawn as they are, never read as formulas. SVG and PDF carry outlines or TrueType fonts,
no Type 3 fonts, which publishers refuse; the same runs give the same bytes.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.comparison.points import read_data
from evalkit.errors import ConfigError, StoreError
from evalkit.languages import ENGLISH, Language, load_language
from evalkit.report.charts import (
    ChartRow,
    Group,
    Model,
    charted_models,
    read_models,
    suite_groups,
    task_groups,
    without_documents,
)
from evalkit.tables import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("svg", "png", "pdf")
KINDS = ("suites", "tasks")
_COLOURS = ("#0b66b5", "#c8500a", "#12805c", "#8d3fa8", "#9a6b00", "#5b6470", "#b0306a", "#3b7d8c")
_MARKERS = ("o", "s", "D", "^")
_CJK_FONTS = (
    *("Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "Source Han Sans CN", "PingFang SC", "Heiti SC"),
    *(
        "Microsoft YaHei",
        "SimHei",
        "WenQuanYi Micro Hei",
        "WenQuanYi Zen Hei",
        "Noto Sans CJK JP",
        "Droid Sans Fallback",
    ),
)


def checked_format(path: Path) -> str:
    """Return the format that a file's name asks for.

    Raises:
        ConfigError: it asks for none that is known, or matplotlib is not installed.
    """
    form = path.suffix.lstrip(".").lower()
    if form not in FORMATS:
        raise ConfigError(f"{path}: no known picture format; name it .{', .'.join(FORMATS[:-1])} or .{FORMATS[-1]}")
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise ConfigError(
            "evalkit plot needs matplotlib: pip install matplotlib (or -e '.[plot]' in evalkit's folder)"
        ) from None
    return form


def chinese_font() -> str | None:
    """Return the name of an installed font with Chinese characters, or None."""
    from matplotlib import font_manager

    installed = {font.name for font in font_manager.fontManager.ttflist}
    return next((name for name in _CJK_FONTS if name in installed), None)


def plot_language(tr: Language) -> tuple[Language, str | None]:
    """Return the language that can be drawn, and a note where it is not the one asked for."""
    if tr.code == "zh" and chinese_font() is None:
        return (
            ENGLISH,
            "no font with Chinese characters is installed, so labels are English; install e.g. Noto Sans CJK",
        )
    return tr, None


def write_plot(path: Path, groups: Sequence[Group], models: Sequence[Model], kind: str, tr: Language = ENGLISH) -> None:
    """Draw groups of rows (see `evalkit.report.charts`) into a file.

    Args:
        path: its suffix names the format.
        groups: of suites (a row a model) or of tasks (a row a task).
        models: for the legend and for what must be said about them.
        kind: one of `KINDS`.
        tr: language of the labels.

    Raises:
        ConfigError: unknown format, matplotlib is missing, or there is nothing to draw.
        StoreError: the file cannot be written.
    """
    form = checked_format(path)
    drawn = [group for group in groups if group.axis is not None]
    if not drawn:
        raise ConfigError("nothing to draw: no suite of these runs has a score")
    import matplotlib

    font = chinese_font()
    settings: dict[str, Any] = {
        "font.family": ["DejaVu Sans", *([font] if font else [])],
        "font.size": 8,
        "pdf.fonttype": 42,
        "svg.fonttype": "path",
        "svg.hashsalt": "evalkit",
        "text.parse_math": False,
        "text.usetex": False,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        # A name may hold characters that no installed font has; they are drawn as boxes.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        figure = _suites_figure(drawn, models, tr) if kind == "suites" else _tasks_figure(drawn, models, tr)
        date: dict[str, Any] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(form, {})
        try:
            figure.savefig(path, format=form, dpi=200, metadata=date, bbox_inches="tight", facecolor="white")
        except OSError as error:
            raise StoreError(f"{path}: cannot be written ({error.strerror})") from None


def plot_runs(folders: Sequence[Path], against: Sequence[str], path: Path, kind: str, code: str) -> str | None:
    """Draw finished runs beside published baselines; returns what the user should know, or None.

    Raises:
        ConfigError, DataError, StoreError: a run or baseline cannot be read; and as `write_plot`.
    """
    checked_format(path)
    tr, note = plot_language(load_language(code))
    records, baselines = read_models(folders, against)
    runs = [read_data(record) for record in records]
    models = charted_models(runs, baselines, tr)
    groups = suite_groups(models, tr) if kind == "suites" else task_groups(models, runs)
    write_plot(path, groups, models, kind, tr)
    notes = [*([note] if note else []), *(without_documents(run) for run in runs if not run.samples)]
    return "; ".join(notes) or None


def _label(model: Model) -> str:
    """Return a model's name with what limits its numbers; a figure gets copied without its caption."""
    return "\n".join([visible(model.label), *(f"({visible(caveat)})" for caveat in model.caveats)])


def _draw(axes: Axes, row: ChartRow, y: float, step: float) -> None:
    for place, mark in enumerate(row.marks):
        model, point = mark.model, mark.point
        if point.value is None:
            continue
        centre = y + step * (place - (len(row.marks) - 1) / 2)
        colour = _COLOURS[model.colour % len(_COLOURS)]
        if point.low is not None and point.high is not None:
            style = ":" if model.caveats else "-"
            axes.plot([point.low, point.high], [centre, centre], color=colour, linestyle=style, linewidth=1.4)
        axes.plot(
            [point.value],
            [centre],
            marker=_MARKERS[model.shape % len(_MARKERS)],
            color=colour,
            markerfacecolor=colour if model.is_run else "white",
            markersize=4.5,
            linestyle="none",
        )


def _suites_figure(groups: Sequence[Group], models: Sequence[Model], tr: Language) -> Figure:
    """One panel a suite, a row a model; each panel has its own scale."""
    from matplotlib.figure import Figure

    columns = min(3, len(groups))
    lines = -(-len(groups) // columns)
    labels = [_label(model) for model in models]
    height = lines * (0.55 + sum(0.2 + 0.13 * label.count("\n") for label in labels)) + 0.3
    figure = Figure(figsize=(7.0, height), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False, sharey=True)
    for place, axes in enumerate(grid.flat):
        if place >= len(groups):
            axes.set_visible(False)
            continue
        group = groups[place]
        rows = {row.label: row for row in group.rows}
        for y, model in enumerate(models):
            row = rows.get(model.label)
            if row is not None and row.marks:
                _draw(axes, row, y, 0)
            else:
                axes.text(
                    0.5, y, "n/a", transform=axes.get_yaxis_transform(), ha="center", va="center", color="#777777"
                )
        assert group.axis is not None
        axes.set_title(group.title, fontsize=9, fontweight="bold", loc="left")
        axes.set_xlim(group.axis.low, group.axis.high)
        axes.set_xticks(group.axis.ticks)
        axes.set_yticks(range(len(models)), labels)
        axes.set_ylim(len(models) - 0.5, -0.5)
        axes.grid(axis="x", color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(left=False)
    figure.supxlabel(tr("score in per cent, with 95 % interval"), fontsize=8)
    return figure


def _tasks_figure(groups: Sequence[Group], models: Sequence[Model], tr: Language) -> Figure:
    """One panel a suite, a row a task, all models in each row, on one scale."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    ratios = [len(group.rows) + 1.2 for group in groups]
    per_row = 0.16 + 0.05 * max(0, len(models) - 1)
    figure = Figure(figsize=(6.5, per_row * sum(ratios) + 0.8), layout="constrained")
    grid = figure.subplots(len(groups), 1, squeeze=False, sharex=True, gridspec_kw={"height_ratios": ratios})
    for group, axes in zip(groups, grid.flat, strict=True):
        for y, row in enumerate(group.rows):
            _draw(axes, row, y, 0.7 / max(1, len(models)))
            if row.chance is not None:
                axes.plot([row.chance] * 2, [y - 0.42, y + 0.42], color="#555555", linestyle=":", linewidth=1.2)
        axes.set_title(group.title, fontsize=9, fontweight="bold", loc="left")
        axes.set_xlim(0, 100)
        axes.set_yticks(range(len(group.rows)), [row.label for row in group.rows])
        axes.set_ylim(len(group.rows) - 0.5, -0.5)
        axes.grid(axis="x", color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(left=False)
    handles = [
        Line2D(
            [],
            [],
            color=_COLOURS[model.colour % len(_COLOURS)],
            marker=_MARKERS[model.shape % len(_MARKERS)],
            markerfacecolor=None if model.is_run else "white",
            linestyle=":" if model.caveats else "-",
            label=_label(model),
        )
        for model in models
    ]
    if any(row.chance is not None for group in groups for row in group.rows):
        handles.append(Line2D([], [], color="#555555", linestyle=":", label=tr("guessing")))
    figure.legend(handles=handles, loc="outside upper left", ncols=min(3, len(handles)), frameon=False, fontsize=8)
    figure.supxlabel(tr("score in per cent, with 95 % interval"), fontsize=8)
    return figure
