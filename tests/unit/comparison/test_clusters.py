"""What is not independent: the same clusters whatever else was run, asked for or lost."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path

import numpy as np
import pytest

from evalkit.comparison.clusters import paired_keys, with_passages
from evalkit.comparison.compare import compare
from evalkit.comparison.gate import gate
from evalkit.comparison.gate_policy import Policy, Rule
from evalkit.comparison.pairing import pair
from evalkit.comparison.points import RunData, paired_samples, points_of_run, task_change
from evalkit.comparison.whole import samples_by_task
from evalkit.records.model import RunRecord
from evalkit.results.reading import read_run
from tests.support.pairs import data_entry, document, write_values

pytestmark = pytest.mark.torch_free

SAT_EN, TWIN = "agieval_sat_en", "agieval_sat_en_without_passage"
# Counted in the published file: the questions of each passage, which stand in a row.
PASSAGES = [
    *(5, 4, 4, 4, 6, 5, 5, 4, 5, 4, 6, 5, 4, 6, 4, 5, 3, 4, 4, 5, 6, 5),
    *(6, 7, 4, 5, 4, 5, 6, 5, 2, 6, 7, 6, 3, 4, 3, 4, 6, 4, 5, 4, 4, 3),
]
NUMBERS = np.repeat(np.arange(44), PASSAGES)
LACKING = {"both have it": (), "a lacks": (0,), "b lacks": (1,), "none has it": (0, 1)}
"""Which of two runs lack sat_en."""
KEYS = [f"p{number}" for number in NUMBERS]


def pair_of(seed: int, share: float = 0.1) -> tuple[list[float], list[float]]:
    """The twin's answers before and after whole passages were lost, each with this probability."""
    rng = np.random.default_rng(seed)
    lost = (rng.random(44) < share)[NUMBERS]
    before = np.where(lost, 1, rng.random(206) < 0.6).astype(float)
    return list(map(float, before)), list(map(float, np.where(lost, 0, before)))


def write(folder: Path, twin: Sequence[float], *, with_sat_en: bool, verdict: str = "published") -> RunRecord:
    values = {SAT_EN: [float(i % 3 > 0) for i in range(206)], TWIN: twin}
    if not with_sat_en:
        del values[SAT_EN]
    return write_values(folder, values, {SAT_EN: KEYS}, data={name: data_entry(verdict) for name in values})


def same_partition(a: Sequence[Hashable], b: Sequence[Hashable]) -> bool:
    return len(a) == len(b) and len(set(a)) == len(set(b)) == len(set(zip(a, b, strict=True)))


def robust(before: Sequence[float], after: Sequence[float]) -> float:
    """The cluster-robust error of the difference, from its definition, in points."""
    moved = np.array(after) - np.array(before)
    totals = np.bincount(NUMBERS, weights=moved - moved.mean())
    return float(100 * np.sqrt(44 / 43 * (totals**2).sum()) / 206)


@pytest.mark.parametrize(
    ("without", "verdict"),
    [
        *(pytest.param(lacking, "published", id=name) for name, lacking in LACKING.items()),
        *(
            pytest.param(lacking, "other", id=f"{name}, other data")
            for name, lacking in LACKING.items()
            if len(lacking) < 2
        ),
    ],
)
def test_a_twins_clusters_are_its_passages_wherever_they_are_known(
    tmp_path: Path, without: tuple[int, ...], verdict: str
) -> None:
    before, after = pair_of(3, 0.2)
    folders = [tmp_path / "a", tmp_path / "b"]
    records = [
        write(folder, column, with_sat_en=number not in without, verdict=verdict)
        for number, (folder, column) in enumerate(zip(folders, (before, after), strict=True))
    ]
    expected = robust(before, after)
    independent = float(100 * np.std(np.array(after) - np.array(before), ddof=1) / np.sqrt(206))
    assert expected > 1.5 * independent
    # by name, beside its suite, in the policy, and in the report of two runs
    (change,) = compare(*folders, tasks=[TWIN]).tasks
    beside = next(found for found in compare(*folders).tasks if found.task == TWIN)
    of_interval = (change.high - change.low) / 2 / 1.959964  # which is shown where it is more than a quarter wider
    assert change.difference.stderr == pytest.approx(expected if of_interval <= 1.25 * expected else of_interval)
    assert (change.low, change.high, change.p_value) == (beside.low, beside.high, beside.p_value)
    assert change.test == "clusters"
    rule = Rule(margin=10.0)
    policy = Policy(tasks={TWIN: rule}, suites={"agieval": Rule(margin=50.0, tier="advisory")}, average=None)
    judged = gate(folders[1], str(folders[0]), policy=policy, allow_different=["tasks", "data"] if without else [])
    part = next(item for item in judged.judged if item.asked.key == TWIN)
    assert part.asked.source.clusters == 44  # type: ignore[attr-defined]
    assert part.test.difference.stderr == pytest.approx(expected)
    data = [RunData(record, samples_by_task(record)) for record in map(read_run, folders)]
    point = task_change(paired_samples(*data)[TWIN], "acc_norm")
    assert point is not None
    assert (point.low, point.high) == (change.low, change.high)
    assert pair(records[1], records[0], [TWIN])[TWIN].scores("acc").clusters
    # and in the interval of one run: the error of its own answers in 44 passages, if it knows them
    if verdict == "other" and 1 in without:
        return
    residuals = np.bincount(NUMBERS, weights=np.array(after) - np.mean(after))
    own = points_of_run(data[1]).tasks[TWIN]
    assert own.estimate is not None
    assert own.estimate.stderr == pytest.approx(100 * np.sqrt(44 / 43 * (residuals**2).sum()) / 206)


@pytest.mark.slow
@pytest.mark.no_cover
def test_the_level_holds_for_a_twin_alone(tmp_path: Path) -> None:
    """Whole passages are lost with probability 10 %, the margin; 206 independent questions passed 24 % of such runs."""
    policy = Policy(tasks={TWIN: Rule(margin=10.0)}, suites={"agieval": Rule(margin=99.0, tier="advisory")})
    verdicts = []
    for seed in range(60):
        before, after = pair_of(seed)
        for name, column in (("a", before), ("b", after)):
            write(tmp_path / name, column, with_sat_en=False)
        verdicts.append(gate(tmp_path / "b", str(tmp_path / "a"), policy=policy).judged[-1].verdict)
    # Above three of 60 there are more than 5 % with 1.8 standard errors.
    assert verdicts.count("pass") <= 6
    assert verdicts.count("worse") <= 6


def test_passages_of_other_data_are_not_known_and_taken_as_wide(tmp_path: Path) -> None:
    record = write(tmp_path, [1.0] * 206, with_sat_en=False, verdict="other")
    keys = [sample.cluster for sample in samples_by_task(record)[TWIN]]
    assert len(set(keys)) == 15
    assert all(len(set(keys[start : start + 14])) == 1 for start in range(0, 206, 14))


def test_a_part_of_the_twin_is_no_reason_to_take_the_rest_for_independent(tmp_path: Path) -> None:
    record = write(tmp_path, [1.0] * 206, with_sat_en=True)
    samples = {SAT_EN: [document(SAT_EN, i, 1.0, cluster=KEYS[i]) for i in range(8)]}
    samples[TWIN] = [document(TWIN, i, 1.0) for i in range(206)]
    found = [str(sample.cluster) for sample in with_passages(record, samples)[TWIN]]
    assert found[:8] == KEYS[:8]
    assert same_partition(found[9:], KEYS[9:])  # question 8, whose passage has another name there, is by itself


def test_two_runs_clusters_are_joined_where_either_says_so() -> None:
    left = [document("boolq", i, 1.0, cluster=key) for i, key in enumerate(["a", "a", None, "b", None])]
    right = [document("boolq", i, 1.0, cluster=key) for i, key in enumerate([None, "x", "x", "y", None])]
    lost = [document("boolq", i, 1.0, cluster=key) for i, key in ((7, "y"), (8, None))]
    keys, missing = paired_keys({"boolq": (left, right, lost)})["boolq"]
    assert same_partition([*keys, *missing], [0, 0, 0, 1, 2, 1, 3])


def test_a_documents_place_in_one_run_is_not_that_in_another() -> None:
    left = [document(SAT_EN, i, 1.0) for i in (0, 1)]
    right = [document(SAT_EN, i, 1.0) for i in (1, 0)]  # matched by content
    keys, _ = paired_keys({SAT_EN: (left, right, [])})[SAT_EN]
    assert len(set(keys)) == 2


def test_a_known_passage_takes_the_place_of_the_other_runs_block(tmp_path: Path) -> None:
    """Matched by content, in another order: the blocks of the run that knows no passages join none of the other's."""
    order = np.random.default_rng(4).permutation(206)
    known = [document(TWIN, i, 1.0, cluster=KEYS[i]) for i in order]
    record = write(tmp_path, [1.0] * 206, with_sat_en=False, verdict="other")
    blocks = with_passages(record, {TWIN: [document(TWIN, i, 1.0) for i in range(206)]})[TWIN]
    expected = [KEYS[i] for i in order]
    for left, right in ((known, blocks), (blocks, known)):
        keys, _ = paired_keys({TWIN: (left, right, [])})[TWIN]
        assert same_partition(keys, expected)
    # Where neither knows one, their blocks stand, and where one knows a part, the block of the rest.
    keys, _ = paired_keys({TWIN: (blocks, blocks, [])})[TWIN]
    assert same_partition(keys, [i // 14 for i in range(206)])
    part = [document(TWIN, i, 1.0, cluster=KEYS[i]) for i in range(9)] + blocks[9:]
    keys, _ = paired_keys({TWIN: (part, blocks, [])})[TWIN]
    assert same_partition(keys, [*KEYS[:9], *(i // 14 for i in range(9, 206))])
