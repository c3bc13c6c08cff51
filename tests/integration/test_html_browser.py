"""The HTML report in a real browser: hostile text runs nothing, 10,000 samples stay fluent, the keyboard reaches all.

Needs playwright and an installed Chromium (``EVALKIT_CHROMIUM`` or one on the path); skipped where either is absent.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from evalkit.config.suites import load_suites
from evalkit.languages import load_language
from evalkit.report.html import write_html
from tests.support.report_runs import HOSTILE, choice_sample, hostile_run, random_samples, write_samples

FLAGS = (
    "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 375, "height": 740}


def chromium_path() -> str | None:
    names = (os.environ.get("EVALKIT_CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if name and (found := shutil.which(name))), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = chromium_path()
    if path is None:
        pytest.skip("no Chromium is installed; set EVALKIT_CHROMIUM or install one (apt-get install chromium)")
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=FLAGS.split())
        yield started
        started.close()


Opened = Callable[..., Any]


@pytest.fixture
def opened(browser: Any) -> Iterator[Opened]:
    """A function that opens a file; at the end, nothing may have been asked, loaded, or complained of."""
    problems: list[str] = []
    contexts = []

    def note_dialog(dialog: Any) -> None:
        problems.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def open_file(path: Path, viewport: dict[str, int] | None = None, **options: Any) -> Any:
        context = browser.new_context(viewport=viewport or DESKTOP, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("dialog", note_dialog)
        page.on("console", lambda message: problems.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: problems.append(f"error: {error}"))
        allowed = (path.as_uri(), "data:,")
        page.on("request", lambda request: None if request.url.startswith(allowed) else problems.append(request.url))
        page.goto(path.as_uri())
        return page

    yield open_file
    for context in contexts:
        context.close()
    assert problems == []


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of two runs on all tasks of all suites; the second is better."""
    folder = tmp_path_factory.mktemp("two")
    tasks = [task.name for suite in load_suites().values() for task in suite.tasks if suite.in_total]
    records = [
        write_samples(
            folder / name,
            [
                sample
                for number, task in enumerate(tasks)
                if task != "truthfulqa_mc"
                for sample in random_samples(task, 12, number, skill)
            ],
            f"org/{name}",
        )
        for name, skill in (("first", 1.0), ("second", 2.5))
    ]
    path = folder / "report.html"
    write_html(path, [record.folder for record in records], ["openhermes-2-mistral-7b"])
    return path


def texts(page: Any, selector: str) -> list[str]:
    return [str(text) for text in page.locator(selector).all_inner_texts()]


def wait_for_text(page: Any, selector: str, text: str) -> None:
    """Wait until an element holds a text; wait_for_function would evaluate a string, which the policy refuses."""
    page.locator(selector).filter(has_text=text).wait_for(timeout=20_000)


def test_hostile_text_is_text(opened: Opened, tmp_path: Path) -> None:
    record = hostile_run(tmp_path / "run")
    path = tmp_path / "report.html"
    write_html(path, [record.folder] * 2)
    page = opened(path)
    for number in range(2 * len(HOSTILE)):
        page.locator(".options li").nth(number).click()
        shown = page.locator(".detail").inner_text()
        assert ("arc_easy" if number < len(HOSTILE) else "humaneval") in shown
    page.locator(".options li").nth(0).click()
    prompt = page.locator(".detail pre").first.inner_text()
    assert prompt == f"{HOSTILE[0]}\nQuestion: {HOSTILE[0]}\nAnswer:"
    page.locator(".options li").nth(7).click()
    assert "abcU+202EdefU+2066ghiU+200F" in page.locator(".detail pre").first.inner_text()
    page.locator("#x-query").fill("<!--<script>")
    wait_for_text(page, "#x-count", "2 of ")
    assert page.evaluate("document.querySelectorAll('script').length") == 2
    assert page.evaluate("document.querySelectorAll('img, iframe, object, embed, link[rel=stylesheet]').length") == 0
    assert "</script><img src=x onerror=alert(1)>" in page.locator("h1").inner_text()


def test_the_policy_stops_what_an_escape_would_miss(browser: Any, tmp_path: Path) -> None:
    record = write_samples(tmp_path / "run", random_samples("piqa", 3, 1))
    path = tmp_path / "report.html"
    write_html(path, [record.folder])
    page = browser.new_context().new_page()
    told: list[str] = []
    page.on("console", lambda message: told.append(message.text))
    requested: list[str] = []
    page.on("requestfinished", lambda request: requested.append(request.url))
    page.goto(path.as_uri())
    page.evaluate(
        """() => {
          const s = document.createElement("script"); s.textContent = "window.ran = 1"; document.body.append(s);
          const d = document.createElement("div");
          d.innerHTML = "<img src='http://example.invalid/a.png' onerror='window.ran = 2'>";
          document.body.append(d);
        }"""
    )
    assert page.evaluate("fetch('http://example.invalid/').then(() => 'sent', () => 'refused')") == "refused"
    assert page.evaluate("window.ran") is None
    assert any("Content Security Policy" in line for line in told)
    assert not [url for url in requested if "example" in url]
    page.context.close()


@pytest.mark.slow
def test_ten_thousand_samples(opened: Opened, tmp_path: Path) -> None:
    samples = [s for n, task in enumerate(("arc_easy", "hellaswag")) for s in random_samples(task, 5000, n, 1.0, 400)]
    record = write_samples(tmp_path / "run", samples)
    path = tmp_path / "report.html"
    write_html(path, [record.folder])
    page = opened(path)
    assert page.locator("#x-count").inner_text() == "10,000 of 10,000 documents"
    # Only one page of the list is in the document, whatever the number of samples.
    assert page.locator(".options li").count() == 100
    assert page.evaluate("document.querySelectorAll('*').length") < 6000
    page.locator(".options li").first.focus()
    page.keyboard.press("End")
    assert "hellaswag · document 4999" in page.locator(".detail h3").inner_text()
    assert page.locator(".pager input").input_value() == "100"
    page.locator("#x-query").fill("number 4321 of hellaswag")
    wait_for_text(page, "#x-count", "1 of ")
    assert "hellaswag · document 4321" in page.locator(".detail h3").inner_text()
    page.locator("#x-query").fill("")
    page.locator("#x-order").select_option("gold")
    wait_for_text(page, "#x-count", "10,000 of ")
    assert "✗" in page.locator(".badge").inner_text()


def test_the_table_sorts_and_filters(opened: Opened, two_runs: Path) -> None:
    page = opened(two_runs)
    page.locator("#task-suite").select_option("AGIEval")
    page.locator("#task-headline").check()
    assert page.locator("#task-count").inner_text().startswith("8 of ")
    heading = page.locator("#task-table th", has_text="B: org/second").first
    for order, sign in (("descending", -1), ("ascending", 1)):
        heading.locator("button").click()
        assert heading.get_attribute("aria-sort") == order
        column = heading.evaluate("(th) => th.cellIndex")
        values = [
            float(text.split(" ")[0])
            for text in texts(page, f"#task-table tbody tr:not([hidden]) > :nth-child({column + 1})")
        ]
        assert len(values) == 8
        assert values == sorted(values, key=lambda value: sign * value)
    page.locator("#task-text").fill("lsat_rc")
    assert page.locator("#task-count").inner_text().startswith("1 of ")
    page.locator("#task-table tbody tr:not([hidden]) th button").click()
    assert page.locator("#x-task").input_value() == "agieval_lsat_rc"
    assert page.locator(".options li").count() == 12


def test_flips_between_two_runs(opened: Opened, two_runs: Path) -> None:
    page = opened(two_runs)
    page.locator("#x-task").select_option("arc_easy")
    counts = [int(text.split(" ")[0]) for text in texts(page, ".flips button")]
    assert sum(counts) == 12
    assert counts[2] > 0
    page.locator(".flips button", has_text="wrong in A, right in B").click()
    assert page.locator(".options li").count() == counts[2]
    badges = texts(page, ".badge")
    assert badges[0].startswith("A: ✗ wrong")
    assert badges[1].startswith("B: ✓ right")
    tags = texts(page, ".choices .gold .tag")
    assert tags == ["✓ right answer", "picked by B"]
    rows = texts(page, ".choices .gold td:nth-child(2)")
    assert len(rows) == 2
    assert float(rows[1]) > float(rows[0].lstrip("<"))


def test_a_sample_can_be_linked_to(opened: Opened, two_runs: Path) -> None:
    page = opened(two_runs)
    page.evaluate("location.hash = '#sample/boolq/7'")
    wait_for_text(page, ".detail h3", "boolq · document 7")
    assert page.locator(".options li[aria-selected=true]").inner_text().startswith(("✓", "✗"))


@pytest.mark.slow
def test_everything_is_reachable_by_keyboard(opened: Opened, two_runs: Path) -> None:
    page = opened(two_runs)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.evaluate("document.activeElement.getBoundingClientRect().left") >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    reached = set()
    for _ in range(150):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                "(() => { const e = document.activeElement; return e.id || e.getAttribute('role') || e.tagName })()"
            )
        )
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        if page.evaluate("document.activeElement !== document.body"):
            assert outline != "none", reached
    assert {
        "task-text",
        "task-suite",
        "task-headline",
        "x-task",
        "x-outcome",
        "x-order",
        "x-query",
        "option",
    } <= reached
    page.locator(".options li[tabindex='0']").focus()
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.getAttribute('aria-selected')") == "true"
    assert "document 1" in page.locator(".detail h3").inner_text()
    assert page.locator("table:not(:has(caption))").count() == 0
    assert page.locator(".options [tabindex='0']").count() == 1


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_contrast(opened: Opened, two_runs: Path, theme: str) -> None:
    page = opened(two_runs, color_scheme=theme)
    # WCAG 2.2, 1.4.3: text has a contrast of at least 4.5 to 1.
    contrast = page.evaluate(
        """() => {
          const style = getComputedStyle(document.documentElement);
          const light = (name) => {
            const hex = style.getPropertyValue(name).trim().slice(1);
            const full = hex.length === 3 ? [...hex].map((c) => c + c).join("") : hex;
            const part = [0, 2, 4].map((i) => parseInt(full.slice(i, i + 2), 16) / 255)
              .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
            return 0.2126 * part[0] + 0.7152 * part[1] + 0.0722 * part[2];
          };
          const found = {};
          for (const [ink, ground] of [["--ink", "--page"], ["--soft", "--page"], ["--soft", "--fill"],
            ["--accent", "--card"], ["--good", "--fill"], ["--bad", "--fill"], ["--warn-ink", "--warn-fill"]]) {
            const [a, b] = [light(ink), light(ground)].sort((x, y) => y - x);
            found[`${ink} on ${ground}`] = (a + 0.05) / (b + 0.05);
          }
          return found;
        }"""
    )
    assert {pair: value for pair, value in contrast.items() if value < 4.5} == {}
    page.locator("#theme").click()
    other = "dark" if theme == "light" else "light"
    assert page.evaluate("document.documentElement.dataset.theme") == other


def test_a_phone_does_not_scroll_sideways(opened: Opened, two_runs: Path) -> None:
    page = opened(two_runs, viewport=PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    page.locator(".options li").nth(3).click()
    assert page.locator(".detail h3").is_visible()


def test_print_has_the_tables_and_no_controls(opened: Opened, two_runs: Path) -> None:
    page = opened(two_runs)
    page.emulate_media(media="print")
    assert page.locator("#task-table tbody tr").first.is_visible()
    assert not page.locator("#task-filter").is_visible()
    assert not page.locator(".options").is_visible()
    assert page.locator(".printed").is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_without_scripts_charts_and_tables_are_there(opened: Opened, two_runs: Path) -> None:
    page = opened(two_runs, java_script_enabled=False)
    assert page.locator("#task-table tbody tr").count() == 47
    assert page.locator(".track").first.is_visible()
    assert page.locator("noscript p").is_visible()


def test_chinese(opened: Opened, tmp_path: Path) -> None:
    samples = [*random_samples("piqa", 5, 1), choice_sample("piqa", 5, [None, -1.0], 0)]
    record = write_samples(tmp_path / "run", samples, limit=6)
    path = tmp_path / "report.html"
    write_html(path, [record.folder], tr=load_language("zh"))
    page = opened(path)
    assert page.evaluate("document.documentElement.lang") == "zh"
    assert page.locator("h2").first.inner_text() == "总览"
    assert page.locator("#x-count").inner_text() == "6 / 6 题"
    assert page.locator("#x-outcome option").all_inner_texts()[1] == "正确"
    assert page.locator(".tile .none").inner_text() == "n/a"
    assert "piqa：acc：6 题中有 1 题失败" in page.locator(".warning").inner_text()
