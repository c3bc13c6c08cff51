"""The HTML report: its numbers are those of the run, its texts are text, and what is no score does not pass for one."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from scipy.stats import binomtest, norm

from evalkit.baselines import load_baseline
from evalkit.cli import main
from evalkit.comparison.compare import compare
from evalkit.comparison.points import (
    ModelPoints,
    Point,
    caveats_of,
    paired_samples,
    points_of_baseline,
    points_of_run,
    read_data,
    suite_points,
    task_change,
    task_point,
)
from evalkit.config.suites import load_suites, load_tasks
from evalkit.languages import load_language
from evalkit.records.model import RunRecord
from evalkit.records.samples import Sample
from evalkit.report.charts import Model, axis_for, charted_models, suite_groups
from evalkit.report.explorer import explorer_data
from evalkit.report.html import PAGE, as_json_block, changes_from, html_report
from evalkit.report.html_tables import percent_text, signed, trend
from evalkit.report.run_report import suite_average
from evalkit.stats.estimates import Estimate
from evalkit.tables import visible
from tests.support.pairs import write_values
from tests.support.report_runs import HOSTILE, choice_sample, hostile_run, random_samples, write_samples

GPT4ALL = [task.name for task in load_suites()["gpt4all"].tasks]


class Page(html.parser.HTMLParser):
    """What a page consists of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self.policy = ""
        self.text = ""
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self._inside = tag
        found = dict(attrs)
        if found.get("http-equiv") == "Content-Security-Policy":
            self.policy = found["content"] or ""

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside if tag == "wbr" else ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts.append(data)
        elif self._inside == "style":
            self.styles.append(data)
        else:
            self.text += data


def four_suites(folder: Path, skill: float = 1.0, count: int = 8, **changes: object) -> RunRecord:
    tasks = [task for task in load_tasks().values() if load_suites()[task.suite].in_total]
    samples: list[Sample] = []
    for seed, task in enumerate(tasks):
        found = random_samples(task.name, count, seed, skill)
        if task.name == "truthfulqa_mc":
            found = [
                choice_sample(task.name, s.doc_id, s.logprobs, 0, metrics={"mc1": 1.0, "mc2": 0.25}) for s in found
            ]
        samples += found
    return write_samples(folder, samples, **changes)


# ---- Untrusted text -------------------------------------------------------------------------------------------------


def test_nothing_hostile_becomes_markup(tmp_path: Path) -> None:
    calm = Page(html_report([write_samples(tmp_path / "calm", random_samples("arc_easy", 2, 1))] * 2))
    record = hostile_run(tmp_path / "run")
    text = html_report([record, record], tr=load_language("zh"))
    page = Page(text)
    assert set(page.tags) <= set(calm.tags) | {"ul", "li", "p", "small"}
    assert not {name for name in page.attributes if name.startswith("on") or name in ("style", "srcdoc", "src")}
    assert len(page.scripts) == 2
    assert "\x00" not in text
    assert "\u202e" not in text.split('<script type="application/json"')[0]
    data = json.loads(page.scripts[0])
    assert [doc["c"][0] for doc in data["docs"] if data["tasks"][doc["t"]]["name"] == "humaneval"] == [
        text.replace("\ud83d", "\\ud83d")
        for text in HOSTILE  # a record holds no half characters
    ]
    assert "[U+202E]" in data["runs"][0]["label"]


def test_the_policy_allows_this_script_and_style_alone(tmp_path: Path) -> None:
    page = Page(html_report([write_samples(tmp_path, random_samples("piqa", 2, 1))]))

    def source(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    assert page.policy == (
        f"default-src 'none'; script-src {source(page.scripts[1])}; style-src {source(page.styles[0])}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    script = (PAGE / "report.js").read_text(encoding="utf-8")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", script)
    assert not re.search(r"https?://|//cdn|@import|url\(", script + (PAGE / "report.css").read_text(encoding="utf-8"))


@given(st.recursive(st.text() | st.sampled_from(HOSTILE), lambda inner: st.lists(inner, max_size=3)))
def test_the_data_block_cannot_be_left(value: object) -> None:
    block = str(as_json_block(value))
    assert json.loads(block) == value
    assert not re.search("[<>&\u2028\u2029\ud800-\udfff]", block)


@given(st.text())
def test_visible_text_has_nothing_unseen_and_is_else_unchanged(text: str) -> None:
    shown = visible(text)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown)
    assert visible(shown) == shown
    if text.isascii() and text.isprintable():
        assert shown == text


# ---- Warnings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "warning", "caveat"),
    [
        ({"verdict": "samples"}, "samples: not a score. The built-in samples are no benchmark", "samples: not a score"),
        ({"limit": 2}, "limited: only the first documents of each task were scored", "limited: first 2 of each task"),
        ({"add_bos": True}, "other protocol: add_bos; published scores are not comparable", "other protocol: add_bos"),
        ({"verdict": "other"}, "not the published content", "not the published data"),
    ],
)
def test_what_is_no_score_says_so_everywhere(
    tmp_path: Path, changes: dict[str, object], warning: str, caveat: str
) -> None:
    record = four_suites(tmp_path, **changes)
    assert caveats_of(record) == (caveat,)
    baseline = load_baseline("openhermes-2-mistral-7b")
    page = html_report([record], [baseline])
    text = Page(page).text
    assert warning in text
    assert '<body class="caveated">' in page
    tiles = page.split('<ul class="tiles">')[1].split("</ul>")[0].split("<li")[1:]
    assert len(tiles) == 5
    assert all(caveat in tile for tile in tiles)
    table = page.split('<table class="evalkit-table">')[1].split("</thead>")[0]
    assert f"org/name ({caveat})" in table
    assert page.count("doubtful") >= 5


def test_a_clean_run_has_no_warning(tmp_path: Path) -> None:
    page = html_report([four_suites(tmp_path)])
    assert "caveated" not in page.split("</style>")[1].split("<script")[0]
    assert 'class="warning"' not in page


def test_failed_samples_have_no_score(tmp_path: Path) -> None:
    samples = [s for seed, task in enumerate(GPT4ALL) for s in random_samples(task, 5, seed)]
    samples[0] = choice_sample("arc_challenge", 0, [None, -1.0], 0)
    record = write_samples(tmp_path, samples)
    found = points_of_run(read_data(record))
    assert found.tasks["arc_challenge"] == Point(None, note="1 of 5 failed")
    assert found.suites["gpt4all"] == Point(None, note="failed samples")
    assert found.average is None
    page = html_report([record])
    assert '<p class="number none">n/a</p>' in page
    assert "arc_challenge: acc_norm: 1 of 5 failed" in page
    assert "n/a: 1 of 5 failed" in page


def test_a_part_of_a_suite_is_none(tmp_path: Path) -> None:
    found = points_of_run(read_data(write_samples(tmp_path, random_samples("piqa", 5, 1))))
    assert found.suites["gpt4all"] == Point(None, note="6 of 7 tasks not run")


# ---- Numbers --------------------------------------------------------------------------------------------------------


def test_scores_are_those_of_the_report(tmp_path: Path) -> None:
    record = four_suites(tmp_path)
    found = points_of_run(read_data(record))
    for name, suite in load_suites().items():
        expected = suite_average(suite, record.metrics)
        if expected is None:
            assert name not in found.suites
            continue
        point = found.suites[name]
        assert point.value == pytest.approx(expected)
        assert point.low is not None
        assert point.high is not None
        assert 0 <= point.low <= expected <= point.high <= 100
        assert percent_text(expected) in html_report([record])
    assert found.average is not None
    assert found.average.value == pytest.approx(sum(found.suites[n].value or 0 for n in found.suites) / 4)


def test_a_published_model_has_the_numbers_of_its_card() -> None:
    found = points_of_baseline(load_baseline("openhermes-2.5-mistral-7b"))
    assert [
        percent_text(found.suites[name].value or 0) for name in ("gpt4all", "bigbench", "agieval", "truthfulqa")
    ] == [
        "73.12",
        "40.96",
        "43.07",
        "53.04",
    ]
    assert found.average is not None
    assert percent_text(found.average.value or 0) == "52.55"
    assert "settings were not published" in found.suites["humaneval"].note
    only_averages = points_of_baseline(load_baseline("openhermes-1-llama2-13b"))
    assert only_averages.tasks == {}
    assert only_averages.suites["agieval"].note == "only an average was published: largest possible error"


def test_intervals_of_tasks() -> None:
    # No right answer among ten: Wilson's interval reaches 27.75 %, where the standard error would claim certainty.
    none_right = task_point([0.0] * 10, range(10))
    assert (none_right.value, none_right.low) == (0.0, 0.0)
    assert none_right.high == pytest.approx(27.75, abs=0.01)
    values, keys = [1.0, 1.0, 0.0, 0.0, 1.0, 1.0], ["a", "a", "b", "b", "c", "c"]
    clustered = task_point(values, keys)
    # Two of three passages are right: the limits of Clopper and Pearson, at most 7 % further away.
    limits = binomtest(2, 3).proportion_ci(0.95, method="exact")
    assert clustered.low is not None
    assert clustered.high is not None
    assert 0.93 <= clustered.low / (100 * limits.low) <= 1
    assert 0.93 <= (100 - clustered.high) / (100 - 100 * limits.high) <= 1
    all_right = task_point([1.0] * 60, [i // 6 for i in range(60)])
    assert all_right.high == 100
    assert all_right.low == pytest.approx(100 * 0.025 ** (1 / 10), rel=0.02)
    assert task_point([1.0, 0.0], ["a", "a"]).note == "too few documents for an interval"


def test_a_suite_that_is_all_right_is_not_known_exactly(tmp_path: Path) -> None:
    samples = [choice_sample(task, i, [-1.0, -2.0], 0) for task in GPT4ALL for i in range(10)]
    found = points_of_run(read_data(write_samples(tmp_path, samples)))
    suite = found.suites["gpt4all"]
    assert (suite.value, suite.high) == (100.0, 100.0)
    # 70 documents that weigh the same: at least 0.025^(1/70) of such are right.
    assert suite.low == pytest.approx(100 * 0.025 ** (1 / 70), abs=0.2)
    assert suite.stderr is not None
    assert suite.stderr > 1
    assert min(point.low or 0 for point in found.tasks.values()) < suite.low


def test_changes_are_paired(tmp_path: Path) -> None:
    first, second = (read_data(four_suites(tmp_path / n, skill)) for n, skill in (("a", 1.0), ("b", 3.0)))
    pairs = paired_samples(first, second)
    found = task_change(pairs["arc_easy"], "acc")
    a, b = ([s.metrics["acc"] or 0.0 for s in run.samples["arc_easy"]] for run in (first, second))
    assert found is not None
    assert found.value == pytest.approx(100 * (np.mean(b) - np.mean(a)))
    changes = suite_points(pairs)
    assert set(changes) == {"gpt4all", "agieval", "bigbench", "truthfulqa", "average"}
    change = changes["gpt4all"]
    own = [points_of_run(run).suites["gpt4all"].value or 0.0 for run in (first, second)]
    assert change.value == pytest.approx(own[1] - own[0])
    unpaired = (points_of_run(first).suites["gpt4all"].stderr or 0.0) * 2**0.5
    assert (change.stderr or 0.0) < unpaired


@pytest.mark.parametrize(("lost", "colour"), [(26, "level"), (40, "down")])
def test_a_tiles_colour_follows_the_p_value_that_compare_corrects(tmp_path: Path, lost: int, colour: str) -> None:
    """Of 400 documents 26 lost, 11 gained: p is 0.02 (McNemar), and 0.10 for one of four suites and their average."""
    tasks = [task for task in load_tasks().values() if load_suites()[task.suite].in_total]
    before = {task.name: [float(i % 3 > 0) for i in range(20)] for task in tasks}
    before["truthfulqa_mc"] = [float(i >= 100) for i in range(400)]
    after = {**before, "truthfulqa_mc": [float(i < 11 or i >= 100 + lost) for i in range(400)]}
    folders = [tmp_path / "a", tmp_path / "b"]
    records = [write_values(folder, values) for folder, values in zip(folders, (before, after), strict=True)]
    p_value = binomtest(11, 11 + lost).pvalue
    corrected = min(1.0, 5 * p_value)  # the smallest of five
    assert (corrected <= 0.05) == (colour == "down")
    assert p_value < 0.05
    found = suite_points(paired_samples(*map(read_data, records)))["truthfulqa"]
    assert found.p_holm == pytest.approx(corrected)
    said = next(change for change in compare(*folders).suites if change.key == "truthfulqa")
    assert said.p_holm == pytest.approx(corrected)
    page = html_report(records)
    tiles = re.findall(r'<p class="change"><span class="(\w+)">([-+.0-9]+)</span>', page)
    assert tiles[-1] == (colour, signed((11 - lost) / 4))
    assert "A change is grey unless its p-value, corrected for" in Page(page).text


@pytest.mark.parametrize(("loss", "colour"), [(3.2, "level"), (5.0, "down")])
def test_changes_from_a_publication_are_corrected_over_suites_and_average(loss: float, colour: str) -> None:
    """3.2 points with an error of 1.41: p is 0.024, and 0.12 for one of five."""

    def model(truthfulqa: float) -> Model:
        suites = {
            name: Point(50.0, 48.04, 51.96, Estimate(50.0, 1.0, 900)) for name in ("gpt4all", "agieval", "bigbench")
        }
        suites["truthfulqa"] = Point(truthfulqa, 0.0, 100.0, Estimate(truthfulqa, 1.0, 900))
        return Model(
            "m", ModelPoints("m", True, suites=suites, average=Point(50.0, 49.0, 51.0, Estimate(50.0, 0.5, 9000))), 0, 0
        )

    found = changes_from(model(60.0 - loss), model(60.0))
    p_value = 2 * norm.sf(loss / 2**0.5)
    assert found["truthfulqa"].p_value == pytest.approx(p_value, rel=0.1)  # Student's t of many documents
    assert found["truthfulqa"].p_holm == pytest.approx(5 * (found["truthfulqa"].p_value or 0.0))
    assert {name: trend(change) for name, change in found.items()} == {
        **dict.fromkeys(("average", "gpt4all", "agieval", "bigbench"), "level"),
        "truthfulqa": colour,
    }


@pytest.mark.parametrize(("seed", "shared"), [(1, 4), (2, 0)])
def test_other_data_is_paired_by_content(tmp_path: Path, seed: int, shared: int) -> None:
    runs = [
        read_data(
            write_samples(
                tmp_path / sha,
                random_samples("piqa", 4, of_seed, length=20),
                data={"piqa": {"source": "x", "verdict": "other", "sha256": sha}},
            )
        )
        for sha, of_seed in (("1", 1), ("2", seed))
    ]
    pairs = paired_samples(*runs)
    assert sum(len(pair.candidate) for pair in pairs.values()) == shared
    assert len(explorer_data(runs)["docs"]) == 8 - shared
    assert "Change A to B" in html_report([run.record for run in runs])


def test_runs_of_different_length_share_what_they_share(tmp_path: Path) -> None:
    long, short = (read_data(write_samples(tmp_path / str(n), random_samples("piqa", n, 1), limit=n)) for n in (9, 4))
    assert [len(pair.candidate) for pair in paired_samples(long, short).values()] == [4]
    docs = explorer_data([long, short])["docs"]
    assert [sum(result is not None for result in doc["r"]) for doc in docs] == [2] * 4 + [1] * 5


def test_numbers_as_text() -> None:
    assert [percent_text(value) for value in (43.065, 0.0, 100.0, 52.5475)] == ["43.07", "0.00", "100.00", "52.55"]
    assert [signed(value) for value in (1.005, -0.294, 0.0)] == ["+1.01", "-0.29", "+0.00"]


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 30)), min_size=1, max_size=6))
def test_an_axis_holds_its_points(found: list[tuple[float, float]]) -> None:
    points = [Point(v, max(0.0, v - half), min(100.0, v + half)) for v, half in found]
    axis = axis_for(points)
    assert axis is not None
    assert 2 <= len(axis.ticks) <= 8
    assert (axis.low, axis.high) == (axis.ticks[0], axis.ticks[-1])
    for point in points:
        assert axis.low - 1e-9 <= (point.low or 0) <= (point.high or 0) <= axis.high + 1e-9


def test_no_points_no_axis() -> None:
    assert axis_for([Point(None)]) is None


def test_two_models_of_one_name(tmp_path: Path) -> None:
    record = four_suites(tmp_path)
    runs = [read_data(record), read_data(record)]
    models = charted_models(runs, [])
    assert [model.label for model in models] == ["A: org/name", "B: org/name"]
    assert all(len(group.rows) == 2 for group in suite_groups(models))


# ---- Samples --------------------------------------------------------------------------------------------------------


def test_the_pick_shown_is_that_of_the_first_metric_that_chooses(tmp_path: Path) -> None:
    both = choice_sample("arc_easy", 0, [-1.0, -2.0], 0, picked={"acc": 0, "acc_norm": 1}, characters=[1, 9])
    both = replace(both, gold=[0], metrics={"acc": 1.0, "acc_norm": 0.0})
    mc1 = choice_sample(
        "truthfulqa_mc", 0, [-1.0, -2.0], 0, metrics={"mc1": 1.0, "mc2": 0.5}, picked={"mc1": 0}, second_group=1
    )
    failed = choice_sample("arc_easy", 1, [-1.0, None], 0)
    docs = explorer_data([read_data(write_samples(tmp_path, [both, failed, mc1]))])["docs"]
    assert [doc["r"][0]["p"] for doc in docs] == [1, None, 0]
    assert [(doc["n"], doc["s"], doc["g"]) for doc in docs] == [
        ([1, 9], None, [0]),
        ([8, 8], None, [0]),
        (None, 1, None),
    ]


def test_probabilities_are_those_within_a_group(tmp_path: Path) -> None:
    # By hand: odds 1 : 3 in the first group; 1 : 2 : 1 in the second, of which the first two are right.
    grouped = choice_sample(
        "truthfulqa_mc",
        0,
        [np.log(0.1), np.log(0.3), -900.0, -900.0 + np.log(2), -900.0],  # e^-900 is no number of its own
        0,
        metrics={"mc1": 0.0, "mc2": 0.75},
        picked={"mc1": 1},
        second_group=2,
    )
    docs = [replace(grouped, gold=[0, 2, 3]), choice_sample("piqa", 0, [np.log(0.2), np.log(0.6)], 1)]
    docs += [choice_sample("piqa", 1, [-1.0, None], 0)]
    found = explorer_data([read_data(write_samples(tmp_path, docs))])
    results = {(found["tasks"][doc["t"]]["name"], doc["d"]): doc["r"][0] for doc in found["docs"]}
    assert results["truthfulqa_mc", 0]["q"] == [0.25, 0.75, 0.25, 0.5, 0.25]
    assert (results["truthfulqa_mc", 0]["h"], results["truthfulqa_mc", 0]["m"]) == (0.75, [0.75, 0.0])
    assert (results["piqa", 0]["q"], results["piqa", 0]["h"]) == ([0.25, 0.75], 0.75)
    assert (results["piqa", 1]["q"], results["piqa", 1]["h"]) == ([None, None], None)
    assert [task["groups"] for task in found["tasks"]] == [["acc", "acc_norm"], ["mc1", "mc2"]]


def test_requests_that_differ_are_kept(tmp_path: Path) -> None:
    plain, chat = random_samples("piqa", 1, 1), random_samples("piqa", 1, 1)
    chat = [choice_sample("piqa", 0, chat[0].logprobs, 0, context=f"<chat>{chat[0].context}")]
    runs = [read_data(write_samples(tmp_path / n, s)) for n, s in (("a", plain), ("b", chat))]
    (doc,) = explorer_data(runs)["docs"]
    assert "c" not in doc["r"][0]
    assert doc["r"][1]["c"] == [f"<chat>{plain[0].context}"]


# ---- Command line ---------------------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("node") is None, reason="no node to run the page's script")
@pytest.mark.parametrize(
    ("context", "expected"),
    [
        (
            "Q: A baker sells 3 loaves. Answer Choices: (A)1 (B)2\nA: Among A through B, the answer is",
            "A baker sells 3",
        ),
        ("Q: one\nA: 1\n\nQ: What is it?\nA:", "What is it?"),
        ("abc\nQ: What is it?\nA:", "What is it?"),
        ("A.Q: Why?\nA:", "Why?"),
        ("Question: Is it so?\nAnswer:", "Is it so?"),
        ("Text. Question: Is it so?\nAnswer:", "Is it so?"),
        ("def f(): return 1", "def f(): return 1"),
        ("A man cooks. He", "A man cooks. He"),
        ("word " * 300 + "end", "word word"),
        ("x" * 400 + " words and so on " * 20, "words and so on"),
        ("Q: ", "(empty)"),
    ],
)
def test_a_preview_begins_at_a_word(context: str, expected: str) -> None:
    script = (PAGE / "report.js").read_text(encoding="utf-8")
    start = script.index("  function preview(doc) {")
    function = script[start : script.index("\n  }\n", start) + 5]
    code = f"const tr = (text) => text;\n{function}\nconsole.log(preview({{c: [{json.dumps(context)}]}}));"
    found = subprocess.run(["node", "-e", code], capture_output=True, text=True, check=True).stdout.strip()
    assert found.startswith(expected)


def test_the_command(tmp_path: Path) -> None:
    folder = four_suites(tmp_path / "run").folder
    out = tmp_path / "report.html"
    result = CliRunner().invoke(
        main, ["report", str(folder), "--against", "openhermes-1-llama2-13b", "--html", str(out)]
    )
    assert (result.exit_code, result.stdout) == (0, "")
    assert "OpenHermes-1-Llama2-13B" in Page(out.read_text(encoding="utf-8")).text
    result = CliRunner().invoke(main, ["report", str(folder), "--lang", "zh"])
    assert "- 模型：org/name" in result.stdout
    missing = tmp_path / "new" / "report.html"
    assert CliRunner().invoke(main, ["report", str(folder), "--html", str(missing)]).exit_code == 0
    assert missing.is_file()
    (tmp_path / "file").touch()
    result = CliRunner().invoke(main, ["report", str(folder), "--html", str(tmp_path / "file" / "report.html")])
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    (folder / "samples.jsonl").unlink()
    result = CliRunner().invoke(main, ["report", str(folder), "--html", str(out)])
    assert result.exit_code == 2
    assert "samples.jsonl: cannot be read" in result.stderr
