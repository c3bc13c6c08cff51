"""What crosses between candidate and tester: plain values exactly, everything else harmlessly."""

from __future__ import annotations

import collections
import enum
import json
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.sandbox import values
from evalkit.sandbox.values import CrossingError, Opaque, decode, encode, write_back

pytestmark = pytest.mark.torch_free

atoms = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=-(1 << 300), max_value=1 << 300),
    st.floats(allow_nan=False),
    st.text(st.characters(), max_size=20),  # lone surrogates too
    st.binary(max_size=20),
    st.complex_numbers(allow_nan=False),
    st.fractions(),
    st.decimals(allow_nan=False),
    st.builds(range, st.integers(-9, 9), st.integers(-9, 9), st.sampled_from([-2, -1, 1, 2])),
)
hashable = st.recursive(atoms, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=4), max_leaves=6)
anything = st.recursive(
    hashable,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.tuples(inner),
        st.dictionaries(hashable, inner, max_size=4),
        st.sets(hashable, max_size=4),
        st.binary(max_size=9).map(bytearray),
    ),
    max_leaves=12,
)


def over_the_wire(value: Any) -> Any:
    return decode(json.loads(json.dumps(encode(value))))


def same(a: Any, b: Any) -> bool:
    """Equal, and of equal types all the way down (1, 1.0 and True are equal in Python)."""
    if type(a) is not type(b):
        return False
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return len(a) == len(b) and all(
            same(k, j) and same(v, w) for (k, v), (j, w) in zip(a.items(), b.items(), strict=True)
        )
    if isinstance(a, float):
        return repr(a) == repr(b)
    return bool(a == b)


@given(anything)
def test_plain_values_arrive_as_they_were(value: Any) -> None:
    assert same(over_the_wire(value), value)


def test_not_a_number_crosses() -> None:
    assert repr(over_the_wire([float("nan"), -0.0])) == "[nan, -0.0]"


class Colour(enum.IntEnum):
    RED = 3


class Yes(str):
    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = str.__hash__


@pytest.mark.parametrize(
    ("value", "base"),
    [
        (Yes("x"), "x"),
        (Colour.RED, 3),
        (collections.Counter("aab"), {"a": 2, "b": 1}),
        (collections.OrderedDict(a=1), {"a": 1}),
        (collections.namedtuple("P", "x y")(1, 2), (1, 2)),
        ({1: 2}.keys(), {1}),
    ],
)
def test_a_subclass_crosses_as_its_base(value: Any, base: Any) -> None:
    assert same(over_the_wire(value), base)


def test_numpy_scalars_cross_as_the_value_they_equal() -> None:
    numpy = pytest.importorskip("numpy")
    assert same(over_the_wire([numpy.int64(3), numpy.float64(0.5), numpy.True_]), [3, 0.5, True])
    assert isinstance(over_the_wire(numpy.zeros(3)), Opaque)


def test_an_iterator_crosses_as_an_iterator_of_its_items() -> None:
    arrived = over_the_wire(x * x for x in range(4))
    assert arrived != [0, 1, 4, 9]
    assert list(arrived) == [0, 1, 4, 9]


def test_an_unknown_object_equals_nothing_and_proves_nothing() -> None:
    arrived = over_the_wire(object())
    assert arrived != True and arrived != 1 and not arrived == over_the_wire(object())  # noqa: E712, PT018, SIM201
    with pytest.raises(TypeError, match="cannot cross"):
        bool(arrived)


def test_deep_and_large_values_are_refused_where_they_are_made() -> None:
    deep: Any = []
    for _ in range(values.MAX_DEPTH + 1):
        deep = [deep]
    with pytest.raises(CrossingError, match="nested"):
        encode(deep)
    with pytest.raises(CrossingError, match="items"):
        encode([0] * (values.MAX_ITEMS + 1))


@pytest.mark.parametrize(
    "data",
    [
        {"x": 1},
        {},
        {"t": [], "d": []},
        {"t": 3},
        {"d": [[1, 2, 3]]},
        {"d": [[[1], 2]]},
        {"s": [[1]]},
        {"b": "zz"},
        {"i": 5},
        {"i": "1.5"},
        {"c": [1]},
        {"c": ["", 1]},
        {"r": [1, 2, 0]},
        {"r": [1]},
        {"n": 1.5},
        {"n": "one"},
        {"q": [1, 0]},
        {"o": 5},
    ],
)
def test_rubbish_is_refused(data: Any) -> None:
    with pytest.raises((ValueError, TypeError, KeyError, ArithmeticError)):
        decode(data)


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("tdsfbyicrnqgox"), inner, max_size=2),
    max_leaves=15,
)
PLAIN = (type(None), bool, int, float, str, list, tuple, dict, set, frozenset, bytes, bytearray, complex, range)


@given(json_like)
def test_whatever_is_sent_becomes_a_plain_value_or_a_refusal(data: Any) -> None:
    try:
        value = decode(data)
    except (ValueError, TypeError, KeyError, ArithmeticError, AttributeError):
        return
    assert type(value) in (*PLAIN, Decimal, Fraction, Opaque, type(iter([])))


@given(anything, anything)
def test_written_back_means_equal(old: Any, new: Any) -> None:
    assert same(write_back(old, over_the_wire(new)), new) or old == new


def test_writing_back_keeps_the_tests_own_objects() -> None:
    inner = [1, 2]
    outer = {"a": inner, "b": (inner, 5)}
    assert write_back(outer, {"a": [2, 1, 0], "b": ([2, 1, 0], 5)}) is outer
    assert outer["a"] is inner
    assert inner == [2, 1, 0]
