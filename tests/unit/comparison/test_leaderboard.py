"""Ranks as far as sampling error allows them, and the marks of numbers that need a word."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from evalkit.baselines import Baseline, load_baseline, save_baseline
from evalkit.comparison.leaderboard import (
    Standing,
    leaderboard,
    rank_intervals,
    standing_of,
    standing_of_run,
    standings,
)
from evalkit.comparison.power import plan, power_table, shares_of, variances
from evalkit.config.suites import find_suite, load_suites
from evalkit.errors import ConfigError
from evalkit.records.model import MetricValue
from evalkit.results.writing import make_record
from evalkit.stats.estimates import Estimate, smallest_detectable, t_cdf, t_quantile
from evalkit.tables import to_json, to_markdown
from tests.support.records import EVALKIT, facts

pytestmark = pytest.mark.torch_free


def power_of(effect: float, stderr: float) -> float:
    """Probability that a two-sided test at 5 % finds an effect, by the normal distribution."""
    critical, shift = t_quantile(0.975, math.inf), abs(effect) / stderr
    return t_cdf(shift - critical, math.inf) + t_cdf(-shift - critical, math.inf)


def test_all_baselines_are_ranked_once() -> None:
    models = standings()
    names = [model.title for model in models]
    assert len(names) == len(set(names)) == 27
    table = leaderboard(models)
    text = to_markdown(table)
    averages = [float(str(row[3]).split(" ± ")[0]) for row in table.rows if row[0] is not None]
    assert averages == sorted(averages, reverse=True)
    assert len(averages) == 21  # one of 22 was measured by lm-eval 0.4
    assert "--across-protocols" in text
    assert sum(row[0] is not None for row in leaderboard(models, across_protocols=True).rows) == 22
    assert "Mixtral-7x8-Base" in text
    # Printed as 41.85, which does not follow from the rows. Both tasks of sat_en ask the same questions.
    assert "36.62 ± 1.16†" in text
    assert "71.16 ± 0.47¶" in text
    assert "prompt format, temperature and other settings were not published" in text
    assert len(standings(all_records=True)) == 29


def test_sorting_by_a_suite() -> None:
    table = leaderboard(standings(), "truthfulqa", numeric=True)
    assert [column.key or column.heading for column in table.columns][3:5] == ["truthfulqa", "truthfulqa_stderr"]
    assert table.rows[0][2] == "deita-v1.0-Mistral-7B"
    assert table.rows[0][3] == Decimal("67.15")
    first = json.loads(to_json(table))["rows"][0]
    assert (first["truthfulqa"], first["Rank"]) == (67.15, 1)
    with pytest.raises(ConfigError, match="cannot sort by 'truthful'; did you mean 'truthfulqa'"):
        leaderboard(standings(), "truthful")


def test_equal_models_share_all_ranks_and_distant_ones_none() -> None:
    near = [Estimate(50.0 + 0.1 * i, 1.0) for i in range(4)]
    assert rank_intervals(near) == [(1, 4)] * 4
    far = [Estimate(50.0 - 10 * i, 1.0) for i in range(3)]
    assert rank_intervals(far) == [(1, 1), (2, 2), (3, 3)]
    assert rank_intervals([Estimate(1.0, 0.1)]) == [(1, 1)]


@pytest.mark.no_cover
def test_rank_intervals_cover_the_true_ranks() -> None:
    rng = np.random.default_rng(0)
    truth = np.array([50.0, 51.0, 51.5, 53.0, 56.0])
    ranks = (-truth).argsort().argsort() + 1
    covered = []
    for _ in range(1500):
        drawn = rng.normal(truth, 1.0)
        intervals = rank_intervals([Estimate(float(value), 1.0) for value in drawn])
        covered.append([low <= rank <= high for (low, high), rank in zip(intervals, ranks, strict=True)])
    assert np.mean(covered, axis=0).min() >= 0.94


def test_a_run_takes_part(tmp_path: Path) -> None:
    metrics = {
        task.name: {metric: MetricValue(value=0.6, stderr=0.01, n=task.documents, failed=0) for metric in task.metrics}
        for suite in load_suites().values()
        for task in suite.tasks
    }
    metrics["boolq"]["acc"] = MetricValue(value=None, stderr=None, n=3270, failed=1)
    model = {**EVALKIT["model"], "name": "mine"}
    record = make_record(tmp_path, facts(model=model, data={}), {}, [])
    record = replace(record, metrics=metrics)
    standing = standing_of_run(record)
    assert set(standing.scores) == set(load_suites()) - {"gpt4all"}  # a failed task leaves no score
    assert standing.scores["agieval"].value == pytest.approx(60.0)
    # Both tasks of sat_en ask the same questions. Limits are a little further away than the error says.
    assert 1 < standing.scores["agieval"].stderr / (math.sqrt(6 + 2**2) / 8) < 1.06
    # The two three-objects tasks hold the same documents, so their errors add up.
    assert 1 < standing.scores["bigbench"].stderr / (math.sqrt(16 + 4) / 18) < 1.06
    rows = leaderboard([standing, *standings()], "agieval").rows
    assert any(row[2] == "mine (run)" for row in rows)


def test_files_take_part(tmp_path: Path) -> None:
    log = tmp_path / "Nereus-7B.md"
    log.write_text("GPT4All: 99.12\n")
    baseline = Baseline("own", "Own", "nous-2023", "here", "2024-01-01", averages={"gpt4all": Decimal("98.00")})
    save_baseline(baseline, tmp_path / "own.yaml")
    models = standings([str(log), str(tmp_path / "own.yaml"), "dpopenhermes"])
    assert [row[2] for row in leaderboard(models, "gpt4all").rows[:2]] == ["Nereus-7B", "Own"]
    assert sum(model.slug == "dpopenhermes" for model in models) == 1
    with pytest.raises(ConfigError, match="unknown baseline"):
        standing_of("no-such-thing")
    assert Standing("x", "x", {}).score("average") is None


# --- power -----------------------------------------------------------------------------------------------------------

effects = st.floats(0.3, 10)


@given(st.sampled_from(sorted(load_suites())), effects)
@pytest.mark.no_cover
def test_a_limit_detects_the_effect_and_one_less_does_not(name: str, effect: float) -> None:
    suite = find_suite(name)
    found = plan(suite, effect=effect)
    assert found.documents == sum(task.documents for task in suite.tasks)
    assert found.needed is not None
    if found.limit is None:
        assert found.smallest > effect
        assert found.needed > found.documents
        return
    assert found.smallest <= effect * (1 + 1e-9)
    of_document = variances(suite, shares_of(suite, None), None)

    def stderr(limit: int) -> float:
        parts = {t.name: math.sqrt(of_document[t.name] / min(limit, t.documents)) for t in suite.tasks}
        if name == "agieval":  # the same questions: added before squaring
            parts["agieval_sat_en"] += parts.pop("agieval_sat_en_without_passage")
        if name == "bigbench":  # the same documents, too
            parts["bigbench_logical_deduction_three_objects"] += parts.pop(
                "bigbench_tracking_shuffled_objects_three_objects"
            )
        return 100 * math.sqrt(sum(part * part for part in parts.values())) / len(suite.tasks)

    assert power_of(effect, stderr(found.limit)) >= 0.8 - 1e-3
    if found.limit > 1:
        assert power_of(effect, stderr(found.limit - 1)) < 0.8 + 1e-3


def test_pairing_needs_fewer_documents() -> None:
    suite, expected = find_suite("truthfulqa"), load_baseline("openhermes-2.5-mistral-7b")
    paired = plan(suite, effect=4.0, baseline=expected, flips=0.1)
    unpaired = plan(suite, effect=4.0, baseline=expected)
    assert paired.needed is not None
    assert unpaired.needed is not None
    assert paired.needed < unpaired.documents < unpaired.needed
    assert unpaired.limit is None
    # Two runs of the published model: its standard error times the root of 2.
    whole = find_suite("gpt4all")
    score = expected.score(whole)
    assert score is not None
    assert plan(whole, baseline=expected).smallest == pytest.approx(
        smallest_detectable(score.estimate.stderr * math.sqrt(2)), rel=0.02
    )
    table = power_table([paired, unpaired], 4.0, 0.05, 0.8, ["note"])
    assert "3.0 times all" in str(table.rows[1][4])
    assert table.rows[1][5] == "more than there are"
    assert len(power_table([plan(suite)], None, 0.05, 0.8, []).columns) == 4


@pytest.mark.parametrize("option", [{"effect": 0.0}, {"effect": -1.0}, {"flips": 2.0}, {"alpha": 0.0}, {"power": 1.0}])
def test_impossible_questions_are_refused(option: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="must lie between 0 and"):
        plan(find_suite("gpt4all"), **option)  # type: ignore[arg-type]
