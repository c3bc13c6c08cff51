"""The configs as lm-eval sees them: documents, requests and metrics of every task are the oracle's."""

from __future__ import annotations

import random
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from evalkit import paths
from evalkit.config import suites, task_files
from evalkit.config.run_config import ModelConfig, RunConfig
from evalkit.config.suites import load_suites, load_tasks
from evalkit.data import DataSource, load_documents
from evalkit.data.manifest import find_dataset
from evalkit.errors import ConfigError, DataError
from evalkit.evaluation.run import run
from evalkit.evaluation.verify import log_likelihood_tasks
from evalkit.tasks import lm_eval_loading
from evalkit.tasks.documents import ENVIRONMENT_VARIABLE, Documents, custom_dataset, load
from evalkit.tasks.lm_eval_loading import load_lm_eval_tasks
from evalkit.tasks.mixed import GENERATION
from tests.support import protocol
from tests.support.files import change_document

SAMPLES = dict.fromkeys(load_suites(), DataSource("samples"))


@pytest.fixture(scope="module")
def tasks() -> dict[str, Any]:
    loaded: dict[str, Any] = load_lm_eval_tasks(load_tasks(), SAMPLES)["tasks"]
    return loaded


def test_all_tasks_load(tasks: dict[str, Any]) -> None:
    assert set(tasks) == set(load_tasks())
    for name, task in tasks.items():
        assert load_tasks()[name].version == task.VERSION
        assert set(task.aggregation()) == set(load_tasks()[name].metrics)


@pytest.mark.parametrize("name", log_likelihood_tasks())
def test_requests_and_metrics_through_lm_eval_are_the_oracles(name: str, tasks: dict[str, Any]) -> None:
    task = tasks[name]
    generator = random.Random(7)
    docs = load_documents(find_dataset(name), DataSource("samples")).documents
    assert list(task.eval_docs) == docs
    for doc in docs:
        context = task.fewshot_context(doc, num_fewshot=0)
        instances = task.construct_requests(doc, context, metadata=(name, 0, 1))
        expected = protocol.requests(name, doc)
        scored = [instance for instance in instances if instance.request_type == "loglikelihood"]
        assert [instance.arguments for instance in scored] == expected
        others = [instance for instance in instances if instance.request_type != "loglikelihood"]
        assert len(others) == (name == "bigbench_geometric_shapes")
        # A third of the scores are equal to another one.
        scores = [-generator.choice([generator.random(), 0.5, 1.0]) for _ in expected]
        results = [(score, False) for score in scores]
        generated = generator.choice([doc.get("target", ""), "a circle.", "\n"])
        found = task.process_results(doc, [*results, generated] if others else results)
        assert found == pytest.approx(protocol.metrics(name, doc, scores, generated), rel=1e-12)


def test_geometric_shapes_also_generates(tasks: dict[str, Any]) -> None:
    task = tasks["bigbench_geometric_shapes"]
    doc = task.eval_docs[0]
    *_, last = task.construct_requests(doc, "context", metadata=("x", 0, 1))
    assert last.request_type == "generate_until"
    assert last.arguments == ("context", GENERATION)
    assert GENERATION == {"until": [], "max_gen_toks": 128, "do_sample": False}
    # Each request has settings of its own, which a model may change.
    assert last.arguments[1] is not GENERATION


def test_humaneval_generates_with_the_protocols_stops(tasks: dict[str, Any]) -> None:
    task = tasks["humaneval"]
    doc = task.eval_docs[0]
    instance = task.construct_requests(doc, task.fewshot_context(doc, num_fewshot=0), metadata=("x", 0, 1))
    context, settings = instance.arguments
    assert instance.request_type == "generate_until"
    assert context == doc["prompt"]
    assert settings["until"] == ["\nclass", "\ndef", "\n#", "\nif", "\nprint"]
    assert not settings["do_sample"]


@pytest.mark.parametrize("suite", ["gpt4all", "agieval", "bigbench", "truthfulqa"])
def test_groups_hold_their_suites(suite: str) -> None:
    loaded = load_lm_eval_tasks([suite], SAMPLES)
    assert set(loaded["tasks"]) == {task.name for task in load_suites()[suite].tasks}
    assert list(loaded["groups"]) == [suite]


def test_no_file_of_lm_evals_own_tasks_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    import lm_eval.tasks

    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("indexed")

    monkeypatch.setattr(lm_eval.tasks, "__path__", [])
    assert set(load_lm_eval_tasks(["piqa"], SAMPLES)["tasks"]) == {"piqa"}


def test_documents_know_their_columns() -> None:
    documents = Documents([{"a": 1, "b": None}])
    assert list(documents.features) == ["a", "b"]
    assert dict(Documents().features) == {}


def test_where_documents_come_from(data_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    samples = custom_dataset("boolq", "samples")["eval"]
    assert custom_dataset("boolq", data_folder.as_posix())["eval"] == samples
    assert custom_dataset("boolq", ["hub", f"gpt4all={data_folder}"], version=3)["eval"] == samples
    assert custom_dataset("boolq", f"agieval={tmp_path},gpt4all=samples")["eval"] == samples
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(data_folder))
    assert custom_dataset("boolq")["eval"] == samples
    with pytest.raises(ConfigError, match="no data source for gpt4all"):
        custom_dataset("boolq", "agieval=samples")
    with pytest.raises(ConfigError, match="no data set 'bolq'; did you mean 'boolq'"):
        custom_dataset("bolq", "samples")


def test_without_a_word_the_hub_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in (None, ""):
        if value is not None:
            monkeypatch.setenv(ENVIRONMENT_VARIABLE, value)
        with pytest.raises(DataError, match="bigbench_snarks: not on the hub in the protocol's form"):
            custom_dataset("bigbench_snarks")


def test_a_broken_document_stops_the_loading(data_folder: Path) -> None:
    path = data_folder / "gpt4all/piqa/validation.jsonl"
    change_document(path, 2, {}, drop="goal")
    with pytest.raises(DataError, match=f"^{path}:2: missing column 'goal'"):
        load_lm_eval_tasks(["piqa"], {"gpt4all": DataSource("folder", data_folder)})


def test_documents_are_loaded_once_a_process(data_folder: Path) -> None:
    source = DataSource("folder", data_folder)
    assert load("piqa", source) is load("piqa", source)


@pytest.fixture
def configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of configs/ that is read in its place."""
    configs = tmp_path / "configs"
    shutil.copytree(paths.configs_dir(), configs)
    for module in (lm_eval_loading, suites, task_files):
        monkeypatch.setattr(module, "configs_dir", lambda: configs)
    return configs


def change(file: Path, old: str, new: str) -> int:
    """Change the one place of a file; return its line."""
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1
    file.write_text(text.replace(old, new), encoding="utf-8")
    return text[: text.index(old)].count("\n") + 1


VERSION = "version: 0, but configs/tasks/gpt4all/boolq.yaml says 1; make them equal"
METRICS = "metrics: [acc, f1], but configs/tasks/gpt4all/boolq.yaml says [acc]; make them equal"


@pytest.mark.parametrize(
    ("other", "what"),
    [("version: 0, metrics: [acc]", VERSION), ("version: 1, metrics: [acc, f1]", METRICS)],
)
def test_a_suite_that_says_otherwise_than_the_task_is_refused_before_the_model(
    other: str, what: str, configs: Path, tmp_path: Path
) -> None:
    line = change(configs / "suites/gpt4all.yaml", "boolq: {version: 1, metrics: [acc]", f"boolq: {{{other}")
    said = f"configs/suites/gpt4all.yaml:{line}: tasks: boolq: {what}"
    with pytest.raises(ConfigError, match=f"^{re.escape(said)}$"):
        load_lm_eval_tasks(["boolq"], SAMPLES)

    def no_model(*_: Any) -> Any:
        raise AssertionError("the model was loaded")

    config = RunConfig(model=ModelConfig(name="tiny"), task=("boolq",), data=("samples",), output=str(tmp_path / "out"))
    with pytest.raises(ConfigError, match=f"^{re.escape(said)}$"):
        run(config, ["run"], load=no_model)


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("  version: 1", "  versoin: 1", "version: 1, but configs/tasks/gpt4all/boolq.yaml says None"),
        ("metric: acc,", "metric: f1,", r"metrics: \[acc\], but configs/tasks/gpt4all/boolq.yaml says \[f1\]"),
        ("task: boolq", "task: bolq", "no file in configs/tasks/gpt4all/ that can be read says 'task: boolq'"),
    ],
)
def test_a_tasks_own_file_that_is_wrong_is_one_line_of_its_suite(old: str, new: str, what: str, configs: Path) -> None:
    change(configs / "tasks/gpt4all/boolq.yaml", old, new)
    with pytest.raises(ConfigError, match=rf"^configs/suites/gpt4all.yaml:\d+: tasks: boolq: {what}"):
        load_lm_eval_tasks(["boolq"], SAMPLES)


MEAN = "errors, averages and comparisons are of means of which more is better; make it such a one, with "


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("higher_is_better: true", "higher_is_better: false", f"metric 'acc' has higher_is_better: false, but {MEAN}"),
        ("aggregation: mean", "aggregation: median", f"metric 'acc' has aggregation: 'median', but {MEAN}"),
        ("higher_is_better: true", "higher_is_better: 1", f"metric 'acc' has higher_is_better: 1, but {MEAN}"),
        ("higher_is_better: true", "higher_is_better: null", f"metric 'acc' has higher_is_better: null, but {MEAN}"),
        (
            "higher_is_better: true",
            "higher_is_better: 'true'",
            f"metric 'acc' has higher_is_better: 'true', but {MEAN}",
        ),
        ("aggregation: mean", "aggregation: maen", f"metric 'acc' has aggregation: 'maen', but {MEAN}"),
        (
            "aggregation: mean",
            "aggregation: !function math.fsum",
            f"metric 'acc' has aggregation: '!function fsum', but {MEAN}",
        ),
        ("include: ../_template", "include: ../_template\nnum_fewshot: 2", "num_fewshot: 2, but documents are asked"),
        (
            "include: ../_template",
            'include: ../_template\nnum_fewshot: "2"',
            "num_fewshot: '2', but documents are asked",
        ),
        ("include: ../_template", "include: ../_template\nnum_fewshot: true", "num_fewshot: true, but documents are"),
        *(
            (
                "include: ../_template",
                f"include: ../_template\ngeneration_kwargs: {written}",
                f"generation_kwargs: {said}",
            )
            for written, said in (
                ("{top_k: abc}", "top_k: 'abc' is not a number of tokens, or 0 for all"),
                ("{max_gen_toks: 0}", "max_gen_toks: 0 is not a number of tokens (1 or more)"),
                ("{do_sample: 'false'}", "do_sample: 'false' is not true or false"),
                ("{temperature: hot}", "temperature: 'hot' is not 0 (greedy) or a finite number above"),
                ("{max_gen_tok: 3}", "max_gen_tok: 3, but there is no such setting; did you mean 'max_gen_toks'?"),
                ("greedy", "expected settings of a text, such as"),
            )
        ),
        ("metric: acc,", "metrik: acc,", "metric_list: item 1: expected 'metric: <its name>', found {'metrik': 'acc'"),
        ("metric: acc,", "metric: 3,", "metric_list: item 1: expected 'metric: <its name>', found {'metric': 3"),
    ],
)
def test_what_no_score_is_made_for_is_refused_before_the_work(old: str, new: str, what: str, configs: Path) -> None:
    change(configs / "tasks/gpt4all/boolq.yaml", old, new)
    with pytest.raises(ConfigError, match=f"^configs/tasks/gpt4all/boolq.yaml: {re.escape(what)}"):
        load_lm_eval_tasks(["piqa", "boolq"], SAMPLES)


# Of lm-eval 0.4.13's own metrics, by its documentation: what its default is where a task's file says nothing.
LESS_IS_BETTER = ("brier_score", "perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte", "ter")
OF_THE_CORPUS = {"f1": "f1", "mcc": "matthews_corrcoef", "bleu": "bleu", "chrf": "chrf"}
KEYS = {"aggregation": "aggregation: mean", "higher_is_better": "higher_is_better: true"}


def use_metric(configs: Path, metric: str, *keys: str) -> None:
    """Have a task and its suite name a metric; its entry says these keys alone."""
    entry = ", ".join([f"metric: {metric}", *(KEYS[key] for key in keys)])
    change(
        configs / "tasks/gpt4all/boolq.yaml", "{metric: acc, aggregation: mean, higher_is_better: true}", f"{{{entry}}}"
    )
    change(
        configs / "suites/gpt4all.yaml",
        "boolq: {version: 1, metrics: [acc], headline: acc",
        f"boolq: {{version: 1, metrics: [{metric}], headline: {metric}",
    )


def refused(configs: Path) -> str:
    with pytest.raises(ConfigError, match=r"^configs/tasks/gpt4all/boolq.yaml: ") as error:
        load_lm_eval_tasks(["boolq"], SAMPLES)
    assert "\n" not in str(error.value)
    return str(error.value).removeprefix("configs/tasks/gpt4all/boolq.yaml: ")


@pytest.mark.parametrize("metric", LESS_IS_BETTER)
def test_of_what_is_left_out_lm_evals_own_default_is_asked(metric: str, configs: Path) -> None:
    use_metric(configs, metric, "aggregation")
    assert refused(configs) == (f"metric '{metric}' has higher_is_better: false, but {MEAN}higher_is_better: true")


@pytest.mark.parametrize("metric", LESS_IS_BETTER)
def test_lm_evals_own_metric_of_which_less_is_better_is_not_believed_the_other_way(metric: str, configs: Path) -> None:
    use_metric(configs, metric, "aggregation", "higher_is_better")
    assert refused(configs).startswith(f"metric '{metric}' is lm-eval's own, of which less is better, but ")


@pytest.mark.parametrize(("metric", "aggregation"), OF_THE_CORPUS.items())
def test_a_default_that_is_no_mean_is_refused(metric: str, aggregation: str, configs: Path) -> None:
    use_metric(configs, metric, "higher_is_better")
    assert refused(configs) == f"metric '{metric}' has aggregation: '{aggregation}', but {MEAN}aggregation: mean"


@pytest.mark.parametrize("said", ["aggregation", "higher_is_better"])
def test_a_metric_that_lm_eval_does_not_know_says_both(said: str, configs: Path) -> None:
    use_metric(configs, "mc3", said)
    lacking = next(key for key in KEYS if key != said)
    assert refused(configs).startswith(f"metric_list: 'mc3' says no {lacking}, and is no metric of lm-eval's")


def test_a_metric_that_nobody_makes_is_named(configs: Path) -> None:
    use_metric(configs, "accc", "aggregation", "higher_is_better")
    change(configs / "tasks/gpt4all/boolq.yaml", "process_results: !function evalkit.tasks.gpt4all.boolq_results\n", "")
    assert refused(configs).startswith("metric_list: 'accc' is no metric of lm-eval's; did you mean 'acc'?; name one")


def test_a_metric_whose_default_is_a_mean_of_which_more_is_better_need_not_say_so(configs: Path) -> None:
    use_metric(configs, "acc_norm")
    assert set(load_lm_eval_tasks(["boolq"], SAMPLES)["tasks"]) == {"boolq"}


@pytest.mark.parametrize(("old", "new"), [("doc_to_text:", "doc_to_txt:"), ("boolq_text", "bolq_text")])
def test_what_lm_eval_cannot_load_is_one_line(old: str, new: str, configs: Path) -> None:
    change(configs / "tasks/gpt4all/boolq.yaml", old, new)
    with pytest.raises(ConfigError, match=r"^configs/tasks: lm-eval cannot load 'boolq': .") as error:
        load_lm_eval_tasks(["piqa", "boolq"], SAMPLES)
    assert "\n" not in str(error.value)
