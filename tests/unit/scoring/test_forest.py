"""The forest's arrays against a tree of dictionaries, and plans against their limits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import DataError, StoreError
from evalkit.scoring.forest import Layout, build_rows, lay_out, truncate
from evalkit.scoring.plan import PackPlan, cut_trees, plan_packs, split_pack
from evalkit.scoring.requests import TokenRequest

ids = st.lists(st.integers(0, 2), min_size=1, max_size=7).map(tuple)
requests_lists = st.lists(st.builds(TokenRequest, ids, ids), min_size=1, max_size=25)
limits = st.fixed_dictionaries(
    {
        "max_batch_tokens": st.integers(1, 60),
        "tree_tokens": st.integers(1, 60),
        "attention_scale": st.sampled_from([3.0, 50.0, math.inf]),
        "max_scored": st.integers(1, 40),
        "width_multiple": st.sampled_from([1, 8]),
    }
)


def visibility_mask(layout: Layout, window: int | None = None) -> npt.NDArray[Any]:
    """Return the boolean mask [trees, width, width]: entry [b, i, j] says whether node i sees node j.

    The scorer computes the same expression on the device; this is the definition.

    Args:
        layout: arrays of a pack.
        window: sliding window in tokens: only nodes less than this far up the path are seen.
    """
    node = np.arange(layout.end.shape[1])
    mask = (node[None, None, :] <= node[None, :, None]) & (node[None, :, None] < layout.end[:, None, :])
    if window is not None:
        mask &= layout.depth[:, :, None] - layout.depth[:, None, :] < window
    return np.asarray(mask)


def inputs_of(requests: list[TokenRequest], max_length: int) -> list[tuple[int, ...]]:
    return [truncate(request, max_length, 0)[0] for request in requests]


def count_nodes(inputs: list[tuple[int, ...]]) -> int:
    return len({row[:stop] for row in inputs for stop in range(1, len(row) + 1)})


@given(requests_lists)
def test_rows_are_sorted_distinct_and_know_their_shared_prefix(requests: list[TokenRequest]) -> None:
    rows = build_rows(requests, 10)
    inputs = [tuple(row.tolist()) for row in rows.inputs]
    assert inputs == sorted(set(inputs_of(requests, 10)))
    for k in range(1, len(inputs)):
        shared = int(rows.shared[k])
        assert inputs[k - 1][:shared] == inputs[k][:shared]
        assert inputs[k - 1][shared : shared + 1] != inputs[k][shared : shared + 1]
    assert rows.forest_tokens == count_nodes(inputs)
    assert sorted(request for members in rows.requests for request in members) == list(range(len(requests)))


@given(requests_lists, limits)
def test_a_plan_scores_every_request_once_within_its_limits(requests: list[TokenRequest], limit: dict) -> None:
    rows = build_rows(requests, 10)
    plan = plan_packs(requests, rows, **limit)
    covered = sorted(row for pack in plan.packs for tree in pack.trees for row in range(tree.start, tree.stop))
    assert covered == list(range(len(rows.inputs)))
    assert plan.tokens >= plan.forest_tokens == rows.forest_tokens
    for pack in plan.packs:
        sizes = [count_nodes([tuple(rows.inputs[row]) for row in range(tree.start, tree.stop)]) for tree in pack.trees]
        assert sizes == [tree.nodes for tree in pack.trees]
        assert max(sizes) <= pack.width < max(sizes) + limit["width_multiple"]
        if not pack.is_causal:
            assert max(sizes) <= limit["tree_tokens"]
        if len(pack.trees) > 1:
            assert max(sizes) * len(sizes) <= limit["max_batch_tokens"]
            scored = [int(rows.scored[row]) for tree in pack.trees for row in range(tree.start, tree.stop)]
            assert sum(scored) <= limit["max_scored"]


@given(requests_lists, limits)
def test_layout_equals_a_tree_walked_by_hand(requests: list[TokenRequest], limit: dict) -> None:
    rows = build_rows(requests, 10)
    for pack in plan_packs(requests, rows, **limit).packs:
        layout = lay_out(rows, pack)
        mask = visibility_mask(layout)
        paths: dict[tuple[int, int], tuple[int, ...]] = {}
        for b, tree in enumerate(pack.trees):
            for node in range(tree.nodes):
                ancestors = np.flatnonzero(mask[b, node])
                # A node sees its path: one node of each depth, in order, itself last.
                assert layout.depth[b, ancestors].tolist() == list(range(len(ancestors)))
                assert ancestors[-1] == node
                paths[b, node] = tuple(layout.token[b, ancestors].tolist())
            assert mask[b, tree.nodes :].sum() == pack.width - tree.nodes  # padding sees itself only
        assert len({(b, path) for (b, _), path in paths.items()}) == len(paths)
        # Each target is predicted at the node whose path is everything before it.
        for member, request in enumerate(layout.requests):
            pairs = np.flatnonzero(layout.pair_request == member)
            input_ids, targets = truncate(requests[request], 10, request)
            assert layout.pair_target[pairs].tolist() == list(targets)
            whole = (requests[request].context_ids + requests[request].continuation_ids)[-11:]
            for k, pair in enumerate(pairs):
                b, node = divmod(int(layout.select[layout.pair_select[pair]]), pack.width)
                assert paths[b, node] == whole[: len(input_ids) - len(targets) + k + 1]


@given(requests_lists, st.integers(1, 12))
def test_a_window_hides_what_is_further_up_the_path(requests: list[TokenRequest], window: int) -> None:
    rows = build_rows(requests, 10)
    plan = plan_packs(requests, rows, max_batch_tokens=500, tree_tokens=500, attention_scale=math.inf, max_scored=500)
    for pack in plan.packs:
        layout = lay_out(rows, pack)
        assert np.array_equal(
            visibility_mask(layout, window).sum(-1), np.minimum(visibility_mask(layout).sum(-1), window)
        )


@given(requests_lists, limits)
def test_splitting_scores_the_same_requests(requests: list[TokenRequest], limit: dict) -> None:
    rows = build_rows(requests, 10)
    for pack in plan_packs(requests, rows, **limit).packs:
        todo, leaves = [pack], []
        while todo:
            parts = split_pack(rows, todo.pop())
            (leaves if len(parts) == 1 else todo).extend(parts)
        members = sorted(request for leaf in leaves for request in lay_out(rows, leaf).requests)
        assert members == sorted(lay_out(rows, pack).requests)
        assert all(len(leaf.trees) == 1 and leaf.is_causal for leaf in leaves)


@given(requests_lists, limits)
def test_the_plan_depends_on_requests_and_limits_only(requests: list[TokenRequest], limit: dict) -> None:
    plan = plan_packs(requests, build_rows(requests, 10), **limit)
    again = plan_packs(requests, build_rows(requests, 10), **limit)
    assert plan == again
    assert PackPlan.from_json(plan.to_json()) == plan
    assert PackPlan.from_json(plan.to_json()).digest == plan.digest


def test_another_order_of_requests_gives_the_same_packs_and_another_hash() -> None:
    requests = [TokenRequest((1, 2, k), (3, k)) for k in range(9)]
    limit = {"max_batch_tokens": 12, "tree_tokens": 12, "attention_scale": 50.0, "max_scored": 99}
    plan = plan_packs(requests, build_rows(requests, 10), **limit)
    turned = plan_packs(requests[::-1], build_rows(requests[::-1], 10), **limit)
    assert plan.packs == turned.packs
    assert plan.digest != turned.digest


def test_cuts_avoid_shared_prefixes() -> None:
    # Two documents of a long shared context each; the only free cut lies between them.
    contexts = [tuple(range(20)), tuple(range(50, 70))]
    requests = [TokenRequest(context, (90 + k, 1)) for context in contexts for k in range(4)]
    rows = build_rows(requests, 100)
    trees = cut_trees(rows, tree_tokens=30, attention_scale=math.inf, max_scored=999)
    assert [(tree.start, tree.stop) for tree in trees] == [(0, 4), (4, 8)]
    assert sum(tree.nodes for tree in trees) == rows.forest_tokens


def test_expensive_attention_makes_smaller_trees() -> None:
    requests = [TokenRequest((k, 1, 2), (3, 4, 5)) for k in range(40)]
    rows = build_rows(requests, 100)
    cheap = cut_trees(rows, 1000, math.inf, 999)
    dear = cut_trees(rows, 1000, 20.0, 999)
    assert len(cheap) == 1
    assert len(dear) > 5


def test_truncation_keeps_the_last_tokens_like_lm_eval() -> None:
    request = TokenRequest(tuple(range(10)), (10, 11, 12))
    assert truncate(request, 100, 0) == (tuple(range(12)), (10, 11, 12))
    assert truncate(request, 5, 0) == ((7, 8, 9, 10, 11), (10, 11, 12))
    assert truncate(request, 3, 0) == ((9, 10, 11), (10, 11, 12))


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (TokenRequest((), (1,)), "request 7: the context has no tokens"),
        (TokenRequest((1,), ()), "request 7: the continuation has no tokens"),
        (TokenRequest((1,), (1, 2, 3, 4)), "request 7: a continuation of 4 tokens does not fit into the model's 3"),
    ],
)
def test_requests_that_cannot_be_scored_are_named(request_: TokenRequest, message: str) -> None:
    with pytest.raises(DataError, match=message):
        truncate(request_, 3, 7)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"packs": 3}', "null"])
def test_a_damaged_plan_is_refused(text: str) -> None:
    with pytest.raises(StoreError, match="not a plan"):
        PackPlan.from_json(text)


def test_no_requests_make_an_empty_plan() -> None:
    rows = build_rows([], 10)
    plan = plan_packs([], rows, max_batch_tokens=9, tree_tokens=9, attention_scale=9.0, max_scored=9)
    assert plan.packs == ()
    assert plan.tokens == plan.forest_tokens == 0
