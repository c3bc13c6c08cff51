"""What crosses between candidate and tester: plain values exactly, everything else harmlessly."""

from __future__ import annotations

import array
import collections
import datetime
import json
import math
import types
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.sandbox import values
from evalkit.sandbox.values import CrossingError, decode, encode, write_back

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


@pytest.mark.parametrize(
    "value",
    [
        collections.deque([1, [2]], 5),
        collections.Counter("aab"),
        collections.OrderedDict([("b", 1), ("a", 2)]),
        collections.defaultdict(list, {1: [2]}),
        collections.UserString("x"),
        collections.UserList([1]),
        array.array("d", [1.5]),
        datetime.datetime(2020, 1, 2, 3, 4, 5, 6, datetime.timezone.utc),
        datetime.timedelta(-1, 2, 3),
        slice(1, None, 2),
        ...,
        int,
        len,
        math.nan,
    ],
    ids=repr,
)
def test_stock_types_arrive_as_themselves(value: Any) -> None:
    arrived = over_the_wire(value)
    assert type(arrived) is type(value)
    assert repr(arrived) == repr(value)
    assert arrived == value or arrived is value


def test_views_and_maps_keep_order_and_compare_as_they_do() -> None:
    table = {"b": 1, "a": 2}
    assert list(over_the_wire(table.keys())) == ["b", "a"]
    assert over_the_wire(table.keys()) == {"a", "b"}
    assert list(over_the_wire(table.items())) == [("b", 1), ("a", 2)]
    assert sum(over_the_wire(table.values())) == 3
    assert over_the_wire(collections.ChainMap({1: 2}, {3: 4})) == {1: 2, 3: 4}
    assert over_the_wire(types.MappingProxyType(table)) == table
    point = over_the_wire(collections.namedtuple("P", "x y")(1, 2))
    assert (point, point.x, type(point).__name__) == ((1, 2), 1, "P")


def test_numpy_keeps_type_and_value() -> None:
    numpy = pytest.importorskip("numpy")
    for value in (numpy.float32(8.18), numpy.longdouble(1) / 3, numpy.True_, numpy.int8(-3), numpy.str_("ab")):
        arrived = over_the_wire(value)
        assert type(arrived) is type(value)
        assert arrived == value
    for items in (numpy.arange(6).reshape(2, 3), numpy.array(["a", "bc"]), numpy.array([1, None], object)):
        arrived = over_the_wire(items)
        assert (arrived.dtype, arrived.shape) == (items.dtype, items.shape)
        assert (arrived == items).all()


@pytest.mark.parametrize("data", [["|b1", [2], "02"], ["<i8", [1 << 62, 1 << 62], ""], ["<U500000000", [1], ["a"]]])
def test_numpy_data_that_lie(data: list[Any]) -> None:
    pytest.importorskip("numpy")
    with pytest.raises(ValueError, match=r"array|length"):
        decode({"x": ["=numpy", *data]})


def test_deep_shared_and_cyclic_values_cross() -> None:
    deep: Any = ()
    for _ in range(3000):
        deep = [deep]
    arrived, depth = over_the_wire(deep), 0
    while arrived:
        arrived, depth = arrived[0], depth + 1
    assert depth == 3000
    row = [0]
    rows = over_the_wire([row, row])
    assert rows[0] is rows[1]
    row.append(row)  # type: ignore[arg-type]
    cyclic = over_the_wire(row)
    assert cyclic[1] is cyclic


def test_too_deep_too_large_and_unknown_values_are_refused_where_they_are_made() -> None:
    deep: Any = []
    for _ in range(values.MAX_FLAT_DEPTH + 2):
        deep = [deep]
    with pytest.raises(CrossingError, match="nested"):
        encode(deep)
    with pytest.raises(CrossingError, match="items"):
        encode([0] * (values.MAX_ITEMS + 1))
    with pytest.raises(CrossingError, match="object"):
        encode(object())


@pytest.mark.parametrize(
    "nodes",
    [
        [["t", [0]]],
        [["l", [9]]],
        [["l", [-1]]],
        [["l", {"v": {"w": [["l"]]}}]],
        [["t", [i + 1]] for i in range(20_000)] + [["t"]],
        [["t"], *(["t", [i]] for i in range(20_000))],
        [["x"]],
        [[]],
    ],
)
def test_flat_rubbish_is_refused(nodes: list[Any]) -> None:
    with pytest.raises((ValueError, TypeError, LookupError)):
        decode({"w": nodes})


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
        {"x": ["decimal.Decimal", 1.5]},
        {"x": ["decimal.Decimal", "one"]},
        {"x": ["fractions.Fraction", 1, 0]},
        {"o": [0, "K", "", []]},  # nobody here to ask
        {"x": ["=named", "eval"]},
        {"x": ["=record", "P", ["a; import os"], [1]]},
        {"x": ["no.such", 1]},
        {"x": ["collections.deque", [1], -1]},
    ],
)
def test_rubbish_is_refused(data: Any) -> None:
    with pytest.raises((ValueError, TypeError, KeyError, ArithmeticError)):
        decode(data)


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("tdsfbyicrgwx"), inner, max_size=2),
    max_leaves=15,
)
PLAIN = (type(None), bool, int, float, str, list, tuple, dict, set, frozenset, bytes, bytearray, complex, range)


@given(json_like)
def test_whatever_is_sent_becomes_a_plain_value_or_a_refusal(data: Any) -> None:
    try:
        value = decode(data)
    except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError):
        return
    assert type(value) in (*PLAIN, type(iter([])))


@given(anything, anything)
def test_written_back_means_equal(old: Any, new: Any) -> None:
    assert same(write_back(old, over_the_wire(new)), new) or old == new


def test_writing_back_keeps_the_tests_own_objects() -> None:
    inner = [1, 2]
    outer = {"a": inner, "b": (inner, 5)}
    assert write_back(outer, {"a": [2, 1, 0], "b": ([2, 1, 0], 5)}) is outer
    assert outer["a"] is inner
    assert inner == [2, 1, 0]
