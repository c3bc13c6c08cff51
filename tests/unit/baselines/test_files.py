"""Baselines as files: what is written is what is read, and mistakes are named."""

from __future__ import annotations

import math
from decimal import Decimal
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from evalkit.baselines import Baseline, HumanEval, Metric, load_baseline, read_baseline, save_baseline, slug_of, to_yaml
from evalkit.baselines.registry import baseline_folders, default_folder, list_baselines
from evalkit.config.suites import find_suite, load_suites, load_tasks
from evalkit.errors import ConfigError
from evalkit.paths import configs_dir

pytestmark = pytest.mark.torch_free

shares = st.integers(0, 10_000).map(lambda n: Decimal(n).scaleb(-4))
metrics = st.builds(Metric, shares, st.none() | shares)
texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=30)


@st.composite
def baselines(draw: st.DrawFn) -> Baseline:
    tasks = draw(st.lists(st.sampled_from(sorted(load_tasks())), unique=True, max_size=4))
    return Baseline(
        slug=draw(texts.map(slug_of)),
        name=draw(texts),
        protocol="nous-2023",
        source=draw(texts),
        retrieved="2024-01-01",
        averages=draw(st.dictionaries(st.sampled_from(sorted(load_suites())), shares.map(lambda s: s * 100))),
        tasks={t: {m: draw(metrics) for m in load_tasks()[t].metrics} for t in tasks},
        humaneval=draw(st.none() | st.builds(HumanEval, shares.map(lambda s: s * 100), texts)),
        notes=tuple(draw(st.lists(texts, max_size=2))),
    )


@given(baselines())
def test_written_is_read_with_the_same_places(tmp_path_factory: pytest.TempPathFactory, baseline: Baseline) -> None:
    path = tmp_path_factory.mktemp("baseline") / "b.yaml"
    save_baseline(baseline, path)
    found = read_baseline(path)
    assert found == baseline
    assert to_yaml(found) == to_yaml(baseline)
    assert yaml.safe_load(path.read_text(encoding="utf-8"))["slug"] == baseline.slug


GOOD = "name: X\nslug: x\nprotocol: nous-2023\nsource: s\nretrieved: 2024-01-01\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + "avereges: {}\n", "unknown key 'avereges'; did you mean 'averages'?"),
        (GOOD + "averages: {gpt4al: 73.12}\n", "averages: unknown key 'gpt4al'; did you mean 'gpt4all'?"),
        (GOOD + "averages: {gpt4all: 173.12}\n", "averages: gpt4all: 173.12 is outside 0..100"),
        (GOOD + "averages: {gpt4all: high}\n", "averages: gpt4all: expected a number, found 'high'"),
        (GOOD + "averages: {gpt4all: .nan}\n", "averages: gpt4all: NaN is outside"),
        (GOOD + "tasks: {boolq: {acc: 0.5}}\n", "tasks: boolq: acc: expected a mapping"),
        (GOOD + "tasks: {boolq: {ac: {value: 0.5}}}\n", "tasks: boolq: no metric 'ac'; did you mean 'acc'?"),
        (GOOD + "tasks: {boolq: {acc: {stderr: 0.5}}}\n", "tasks: boolq: acc: missing key 'value'"),
        (GOOD + "tasks: {boolq: {acc: {value: 0.5, sdterr: 0.1}}}\n", "unknown key 'sdterr'; did you mean 'stderr'?"),
        (GOOD.replace("source: s\n", ""), "b.yaml:1: missing key 'source'"),
        ("- a\n", "expected a mapping"),
        ("a: [\n", "not valid YAML"),
        (GOOD + "notes: abc\n", "b.yaml:6: notes: expected a list, found 'abc'"),
        (GOOD + "name: Y\n", "key 'name' is there twice"),
        (GOOD + 'averages: {gpt4all: "50.5"}\n', "b.yaml:6: averages: gpt4all: expected a number, found '50.5'"),
    ],
)
def test_mistakes_in_a_file_are_named_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "b.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_baseline(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_committed_file_is_as_it_would_be_written() -> None:
    files = sorted((configs_dir() / "baselines").glob("*.yaml"))
    assert len(files) == 29
    for path in files:
        baseline = read_baseline(path)
        assert baseline.slug == path.stem
        assert to_yaml(baseline) == path.read_text(encoding="utf-8"), path.name
        assert baseline.source
        assert baseline.retrieved
    with_twins = {b.slug: b.same_model_as for b in list_baselines() if b.same_model_as}
    assert set(with_twins.values()) <= {b.slug for b in list_baselines()}


def test_the_card_models_have_the_numbers_of_the_card() -> None:
    first, second, third = map(
        load_baseline, ("openhermes-1-llama2-13b", "openhermes-2-mistral-7b", "OpenHermes-2.5-Mistral-7B")
    )
    printed = [{suite: str(b.averages[suite]) for suite in b.averages} for b in (first, second, third)]
    assert printed == [
        {"gpt4all": "70.36", "agieval": "35.56", "bigbench": "36.75", "truthfulqa": "46.01"},
        {"gpt4all": "72.68", "agieval": "39.77", "bigbench": "42.3", "truthfulqa": "50.92"},
        {"gpt4all": "73.12", "agieval": "43.07", "bigbench": "40.96", "truthfulqa": "53.04"},
    ]
    assert not first.tasks
    assert third.humaneval is not None
    assert "not published" in third.humaneval.note
    assert second.humaneval is not None
    assert second.humaneval.percent == 43


def test_unknown_names_get_the_nearest_one() -> None:
    with pytest.raises(
        ConfigError, match=r"unknown baseline 'openhermes-2\.5-mistral'; did you mean 'openhermes-2\.5-m"
    ):
        load_baseline("openhermes-2.5-mistral")


def test_a_path_is_a_baseline_too(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD)
    assert load_baseline(str(path)).name == "X"
    log = tmp_path / "My-Model.md"
    log.write_text("TruthfulQA: 53.04\n")
    assert load_baseline(str(log)).averages == {"truthfulqa": Decimal("53.04")}
    log.write_text("# A-1\n|boolq|1|acc|0.8|\n# B-2\n|boolq|1|acc|0.9|\n")
    with pytest.raises(ConfigError, match="holds 2 models"):
        load_baseline(str(log))


def test_further_folders_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "openhermes-1-llama2-13b.yaml").write_text(GOOD)
    monkeypatch.setenv("EVALKIT_BASELINES", str(tmp_path))
    assert tmp_path in baseline_folders()
    assert load_baseline("openhermes-1-llama2-13b").name == "X"


def test_an_import_is_written_where_the_user_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert default_folder().resolve() == tmp_path
    (tmp_path / "configs" / "baselines").mkdir(parents=True)
    assert default_folder() == Path("configs/baselines")
    monkeypatch.chdir(configs_dir().parent)
    assert default_folder().resolve() == configs_dir() / "baselines"


def test_saving_refuses_to_overwrite_other_content(tmp_path: Path) -> None:
    baseline = load_baseline("openhermes-1-llama2-13b")
    path = tmp_path / "deep" / "b.yaml"
    assert save_baseline(baseline, path)
    assert not save_baseline(baseline, path)
    path.write_text("other")
    with pytest.raises(ConfigError, match="exists with other content; pass --force"):
        save_baseline(baseline, path)
    assert save_baseline(baseline, path, force=True)
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        save_baseline(baseline, blocked / "b.yaml")


def test_scores_of_a_suite_and_where_their_errors_come_from() -> None:
    gpt4all, bigbench = find_suite("gpt4all"), find_suite("bigbench")
    rows = load_baseline("openhermes-2.5-mistral-7b").score(gpt4all)
    assert rows is not None
    assert (rows.estimate.value, rows.printed, rows.stderr_from) == (73.12, True, "published")
    errors = [0.0143, 0.0079, 0.0060, 0.0039, 0.0223, 0.0088, 0.0123]
    assert rows.estimate.stderr == pytest.approx(100 * math.sqrt(sum(e * e for e in errors)) / 7)
    without = load_baseline("qwen-14b-base").score(gpt4all)
    assert without is not None
    assert without.stderr_from == "rows"
    assert without.estimate.stderr == pytest.approx(0.47, abs=0.01)
    bound = load_baseline("openhermes-1-llama2-13b").score(bigbench)
    assert bound is not None
    assert bound.stderr_from == "bound"
    full = load_baseline("openhermes-2.5-mistral-7b").score(bigbench)
    assert full is not None
    assert bound.estimate.stderr > full.estimate.stderr
    # Its printed AGIEval average, 41.85, does not follow from its rows.
    wrong = load_baseline("mixtral-7x8-base")
    agieval = find_suite("agieval")
    by_rows = wrong.score(agieval, prefer_rows=True)
    assert by_rows is not None
    assert by_rows.estimate.value == pytest.approx(36.61875)
    assert not by_rows.printed
    assert wrong.score(find_suite("humaneval")) is None
    assert load_baseline("qwen-14b-base").score(bigbench) is None
    assert load_baseline("mistral-7b-base").protocol_of("gpt4all") == "lm-eval-0.4"
    assert load_baseline("mistral-7b-base").protocol_of("agieval") == "nous-2023"
