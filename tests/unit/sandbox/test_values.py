"""What crosses between candidate and tester: plain values exactly, everything else harmlessly."""

from __future__ import annotations

import array
import collections
import copy
import datetime
import json
import math
import types
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.sandbox import crossing
from evalkit.sandbox.crossing import CrossingError
from evalkit.sandbox.decoding import Decoder, decode
from evalkit.sandbox.encoding import Encoder, encode, encode_changes
from evalkit.sandbox.heap import Heap
from evalkit.sandbox.parts import parts_of
from evalkit.sandbox.renewing import apply_changes

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
    for _ in range(crossing.MAX_FLAT_DEPTH + 2):
        deep = [deep]
    with pytest.raises(CrossingError, match="nested"):
        encode(deep)
    with pytest.raises(CrossingError, match="items"):
        encode([0] * (crossing.MAX_ITEMS + 1))
    with pytest.raises(CrossingError, match="object"):
        encode(object())


@pytest.mark.parametrize(
    "nodes",
    [
        [["t", [0]]],
        [["l", 0, [9]]],
        [["l", 0, [-1]]],
        [["l", 0, {"v": {"w": [["l", 2]]}}]],
        [["l", 1]],
        [["l", 0], ["l", 0]],
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
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("tdsfbyicrgwxm"), inner, max_size=2),
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


def two_sides() -> tuple[Encoder, Decoder, Encoder, Decoder]:
    here, there = Heap(0, parts_of), Heap(1, parts_of)
    return Encoder(heap=here), Decoder(heap=here), Encoder(heap=there), Decoder(heap=there)


def sent(value: Any, encoder: Encoder, decoder: Decoder) -> Any:
    """A message from one side to the other: a value, then what has changed."""
    data = json.loads(json.dumps([encode(value, encoder), encode_changes(encoder.heap, lambda: encoder)]))
    encoder.heap.settle()
    arrived = decode(data[0], decoder)
    apply_changes(data[1], decoder, lambda *_: None)
    decoder.heap.settle()
    return arrived


@given(st.lists(anything, max_size=5), st.lists(anything, max_size=5))
def test_what_one_side_makes_of_an_object_the_other_side_has(old: list[Any], new: list[Any]) -> None:
    encoder, decoder, their_encoder, their_decoder = two_sides()
    theirs = sent(old, encoder, their_decoder)
    theirs[:] = new
    assert sent(theirs, their_encoder, decoder) is old
    assert same(old, new)


CHANGES: list[tuple[Any, Any]] = [
    ([3, 1], lambda v: v.sort()),
    ({1: 2, 3: 4, 5: 6}, lambda v: v.popitem()),
    ({1, 2}, lambda v: v.add(3)),
    (bytearray(b"ab"), lambda v: v.reverse()),
    (collections.deque([1, 2], 3), lambda v: v.rotate(1)),
    (collections.OrderedDict(a=1, b=2), lambda v: v.move_to_end("a")),
    (collections.Counter("aab"), lambda v: v.update("c")),
    (collections.defaultdict(list, {1: [2]}), lambda v: v[5]),
    (collections.UserList([3, 1]), lambda v: v.sort()),
    (collections.UserDict(a=1), lambda v: v.update(b=2)),
    (collections.ChainMap({1: 2}, {3: 4}), lambda v: v.maps.reverse()),
    (array.array("i", [1, 2]), lambda v: v.append(3)),
    (types.SimpleNamespace(a=1), lambda v: vars(v).update(b=[1])),
    ([True, 1.0, 1], lambda v: v.reverse()),
]


@pytest.mark.parametrize(("value", "change"), CHANGES, ids=lambda v: type(v).__name__)
def test_changes_go_both_ways_in_place(value: Any, change: Any) -> None:
    value, expected = copy.deepcopy(value), copy.deepcopy(value)
    encoder, decoder, their_encoder, their_decoder = two_sides()
    theirs = sent(value, encoder, their_decoder)
    change(theirs)
    change(expected)
    assert sent(theirs, their_encoder, decoder) is value
    assert repr(value) == repr(expected)
    change(value)
    change(expected)
    assert sent(value, encoder, their_decoder) is theirs
    assert repr(theirs) == repr(expected)


def test_objects_keep_their_place_in_one_another() -> None:
    encoder, decoder, their_encoder, their_decoder = two_sides()
    one, two = [1], [2]
    outer = [one, two, {"one": one}]
    theirs = sent(outer, encoder, their_decoder)
    assert theirs[2]["one"] is theirs[0]
    theirs[0], theirs[1] = theirs[1], theirs[0]
    theirs[0].append(theirs)
    assert sent(theirs[1], their_encoder, decoder) is one
    assert outer[0] is two
    assert outer[1] is one
    assert two == [2, outer]


def test_what_nobody_refers_to_is_dropped_and_no_change_is_lost() -> None:
    heap = Heap(0, parts_of)
    encoder = Encoder(heap=heap)
    kept = [[1], [2]]
    encode(kept, encoder)
    encode([[5]], encoder)
    heap.settle()
    assert len(heap.entries) == 5
    assert len(heap.prune()) == 2
    kept[0].append(3)
    assert [value for _, value in heap.changed()] == [[1, 3]]


@pytest.mark.parametrize(
    "body",
    [[], [0, [], 1], ["1", []], [3], [1, {"i": "0x1"}], [1, 5], [2, []], [-1, []], [1, {"x": ["slice", 1, 2, 3]}]],
)
def test_numbers_that_are_none_are_refused(body: list[Any]) -> None:
    with pytest.raises((ValueError, TypeError, LookupError)):
        decode({"m": body}, Decoder(heap=Heap(0, parts_of)))


def test_a_number_cannot_be_given_twice_or_changed_into_another_type() -> None:
    decoder = Decoder(heap=Heap(0, parts_of))
    decode({"m": [1, []]}, decoder)
    with pytest.raises(ValueError, match="number"):
        decode({"m": [1, []]}, decoder)
    for content in ({"d": []}, {"s": []}, 5, "x"):
        with pytest.raises((ValueError, TypeError)):
            apply_changes([[1, None, content]], decoder, lambda *_: None)
