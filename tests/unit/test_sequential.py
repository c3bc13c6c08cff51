"""Confidence sequences: what they promise is that no look, however often one looks, lies (seeded simulations)."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit import sequential, stats
from evalkit.errors import DataError

pytestmark = pytest.mark.torch_free

STREAMS, LENGTH, SHARE = 2000, 1000, 0.7


@pytest.fixture(scope="module")
def streams() -> np.ndarray:
    rng = np.random.default_rng(11)
    return (rng.random((STREAMS, LENGTH)) < SHARE).astype(np.float64)


def ever_missed(streams: np.ndarray, bounds: object, truth: float, start: int) -> float:
    """Share of streams in which some look from `start` on excludes the truth."""
    missed = 0
    for row in streams:
        low, high = bounds(row)  # type: ignore[operator]
        missed += bool(((low[start:] > truth) | (high[start:] < truth)).any())
    return missed / len(streams)


def test_ordinary_intervals_lie_when_looked_at_again_and_again(streams: np.ndarray) -> None:
    count = np.arange(1, LENGTH + 1)
    centre = np.cumsum(streams, axis=1) / count
    half = 1.96 * np.sqrt(centre * (1 - centre) / count)
    assert np.mean((np.abs(centre - SHARE) > half)[:, 50:].any(axis=1)) > 0.2


def test_mixture_sequence_covers_at_all_looks(streams: np.ndarray) -> None:
    assert ever_missed(streams, sequential.mixture_sequence, SHARE, start=50) <= 0.05


def test_bernstein_sequence_covers_at_all_looks_from_the_first(streams: np.ndarray) -> None:
    assert ever_missed(streams, sequential.bernstein_sequence, SHARE, start=0) <= 0.05
    differences = streams[: STREAMS // 2] - streams[STREAMS // 2 :]
    assert ever_missed(differences, lambda d: sequential.bernstein_sequence(d, low=-1, high=1), 0.0, start=0) <= 0.05


def test_one_sided_factor_covers_at_all_looks() -> None:
    # Paired differences of two equal runs, 10 % flips; the lower bound must stay below 0 at every look.
    rng = np.random.default_rng(12)
    draw = rng.random((STREAMS, LENGTH))
    differences = (draw < 0.05).astype(float) - (draw > 0.95)
    count = np.arange(1, LENGTH + 1)
    centre = np.cumsum(differences, axis=1) / count
    stderr = np.sqrt((np.cumsum(differences**2, axis=1) / count - centre**2) / count)
    rho_squared = sequential.mixture_scale(LENGTH)
    factor = np.array([sequential.mixture_factor(int(n), rho_squared) for n in count])
    alarms = ((centre - factor * stderr)[:, 100:] > 0).any(axis=1).mean()
    assert alarms <= 0.05
    # The price at the planned size, against 1.645 for a single look.
    assert factor[-1] == pytest.approx(2.78, abs=0.01)


@given(st.integers(10, 10**5), st.sampled_from([0.01, 0.05]))
def test_always_valid_factors_exceed_the_single_look_ones(documents: int, alpha: float) -> None:
    for one_sided in (True, False):
        rho_squared = sequential.mixture_scale(1000, alpha, one_sided=one_sided)
        factor = sequential.mixture_factor(documents, rho_squared, alpha, one_sided=one_sided)
        assert factor > stats.t_quantile(1 - alpha / (1 if one_sided else 2), math.inf)


def test_factor_and_sequence_agree() -> None:
    values = np.random.default_rng(13).random(300)
    low, high = sequential.mixture_sequence(values)
    rho_squared = sequential.mixture_scale(300, one_sided=False)
    stderr = values.std() / math.sqrt(300)
    half = sequential.mixture_factor(300, rho_squared, one_sided=False) * stderr
    assert (high[-1] - low[-1]) / 2 == pytest.approx(half)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60))
def test_bernstein_bounds_only_tighten_and_stay_inside(values: list[float]) -> None:
    low, high = sequential.bernstein_sequence(values)
    assert (np.diff(low) >= 0).all()
    assert (np.diff(high) <= 0).all()
    assert low[0] >= 0
    assert high[0] <= 1


def slow_bernstein(values: list[float], alpha: float) -> tuple[float, float]:
    """The theorem, one document at a time."""
    low, high = 0.0, 1.0
    mean, variance, total, weighted, spread, squares, running = 0.5, 0.25, 0.0, 0.0, 0.0, 0.0, 0.0
    for t, x in enumerate(values, start=1):
        stake = min(math.sqrt(2 * math.log(2 / alpha) / (variance * t * math.log(t + 1))), 0.5)
        spread += (x - mean) ** 2 * (-math.log(1 - stake) - stake)
        total, weighted, running = total + stake, weighted + stake * x, running + x
        mean = (0.5 + running) / (t + 1)
        squares += (x - mean) ** 2
        variance = (0.25 + squares) / (t + 1)
        half = (math.log(2 / alpha) + spread) / total
        low, high = max(low, weighted / total - half), min(high, weighted / total + half)
    return low, high


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_bernstein_equals_the_loop(values: list[float]) -> None:
    low, high = sequential.bernstein_sequence(values)
    assert (low[-1], high[-1]) == pytest.approx(slow_bernstein(values, 0.05), abs=1e-9)


def test_refusals() -> None:
    with pytest.raises(DataError, match=r"within 0\.0\.\.1\.0"):
        sequential.bernstein_sequence([0.5, 1.5])
    with pytest.raises(DataError, match="must be positive"):
        sequential.mixture_scale(0)
