"""From the sorted rows to packs: cut the forest into trees, group trees into packs. numpy only.

The sorted rows are cut into trees, consecutive ranges of rows. A cut costs the tokens that the rows on its two
sides share (they are computed twice); no cut costs attention, which is quadratic in a tree's size. ``cut_trees``
finds the cheapest cuts by dynamic programming. Trees of similar size become the batch rows of one pack, so that
little is padded. All this depends on the requests and the given numbers only: the same input gives the same plan.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from evalkit.errors import StoreError
from evalkit.scoring.forest import Pack, TokenRows, Tree
from evalkit.scoring.requests import TokenRequest


@dataclass(frozen=True)
class PackPlan:
    """All packs of one run, and what they were made from.

    Attributes:
        packs: in the order in which they are scored: the most expensive first.
        requests: number of requests.
        forest_tokens: lower bound of positions (``Rows.forest_tokens``).
        requests_sha256: hash of all requests in order, so that a stored plan is used for these requests only.
    """

    packs: tuple[Pack, ...]
    requests: int
    forest_tokens: int
    requests_sha256: str

    @property
    def tokens(self) -> int:
        """Positions that the packs compute, padding included."""
        return sum(pack.tokens for pack in self.packs)

    def to_json(self) -> str:
        """Return the plan as one line of JSON; equal plans give equal text."""
        # Not asdict(): it copies every tree, which takes longer than making the plan.
        body = {
            "packs": [[pack.width, [[t.start, t.stop, t.nodes] for t in pack.trees]] for pack in self.packs],
            "requests": self.requests,
            "forest_tokens": self.forest_tokens,
            "requests_sha256": self.requests_sha256,
        }
        return json.dumps(body, sort_keys=True, separators=(",", ":"))

    @staticmethod
    def from_json(text: str) -> PackPlan:
        """Read what ``to_json`` wrote.

        Raises:
            StoreError: the text is not a plan.
        """
        try:
            body = json.loads(text)
            packs = tuple(
                Pack(tuple(Tree(*map(int, tree)) for tree in trees), int(width)) for width, trees in body["packs"]
            )
            return PackPlan(packs, int(body["requests"]), int(body["forest_tokens"]), str(body["requests_sha256"]))
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(f"plan: not a plan of evalkit ({error}); start the run anew") from None

    def check(self, requests: Sequence[TokenRequest]) -> None:
        """Raise StoreError unless the plan was made for these requests."""
        if self.requests_sha256 != requests_sha256(requests):
            raise StoreError("the stored plan was made for other requests; start the run anew with --fresh")

    @property
    def largest_tokens(self) -> int:
        """Positions of the largest pack."""
        return max((pack.tokens for pack in self.packs), default=0)

    @property
    def digest(self) -> str:
        """sha256 of ``to_json()``."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()


@dataclass(frozen=True)
class PackResult:
    """Scores of one finished pack.

    Attributes:
        pack: index into ``PackPlan.packs``.
        requests: indices of the requests scored.
        logprobs: nats, in the order of ``requests``.
        is_greedy: in the order of ``requests``.
        parts: 1, or into how many parts the pack was split because memory ran out.
        tokens: positions computed, padding included.
        budget_tokens: greatest part that later packs are computed in; less than the largest pack once memory ran out.
    """

    pack: int
    requests: tuple[int, ...]
    logprobs: tuple[float, ...]
    is_greedy: tuple[bool, ...]
    parts: int
    tokens: int
    budget_tokens: int


def cut_trees(rows: TokenRows, tree_tokens: int, attention_scale: float, max_scored: int) -> list[Tree]:
    """Cut the sorted rows into trees so that the estimated cost is least.

    A tree of n nodes costs ``n + n * n / attention_scale``. A row that exceeds a limit is a tree of its own.

    Args:
        rows: the sorted rows.
        tree_tokens: greatest number of nodes of a tree of several rows.
        attention_scale: tree size at which attention costs as much as everything else; inf where it costs nothing.
        max_scored: greatest number of predicting positions of a tree of several rows.
    """
    # nodes of the tree [i, j) = lengths[i] + new[i + 1] + ... + new[j - 1] = base[i] + total[j]
    total = np.concatenate([[0], np.cumsum(rows.lengths - rows.shared)])
    base = rows.lengths - total[1:]
    scored = np.concatenate([[0], np.cumsum(rows.scored)])
    low = 0

    def costs(j: int) -> tuple[int, npt.NDArray[np.float64]]:
        nonlocal low
        # Size and predictions shrink as i grows, so the first i that fits only ever moves to the right.
        while low < j - 1 and (base[low] + total[j] > tree_tokens or scored[j] - scored[low] > max_scored):
            low += 1
        nodes = base[low:j] + total[j]
        return low, _PART_COST + nodes * (1.0 + nodes / attention_scale)

    return [Tree(i, j, int(base[i] + total[j])) for i, j in _cheapest_parts(len(rows.inputs), costs)]


def group_trees(trees: Sequence[Tree], scored: Sequence[int], max_batch_tokens: int, max_scored: int) -> list[Pack]:
    """Group trees, given from the largest to the smallest, into packs with the least padding."""
    nodes = np.array([tree.nodes for tree in trees], dtype=np.int64)
    total = np.concatenate([[0], np.cumsum(scored)])
    low = 0

    def costs(j: int) -> tuple[int, npt.NDArray[np.float64]]:
        nonlocal low
        while low < j - 1 and (nodes[low] * (j - low) > max_batch_tokens or total[j] - total[low] > max_scored):
            low += 1
        first = np.arange(low, j)
        padded = (nodes[first] * (j - first)).astype(np.float64)
        # Not monotonic: a smaller group of larger trees may fit where this one does not.
        padded[(padded > max_batch_tokens) & (first < j - 1)] = math.inf
        return low, _PART_COST + padded

    return [Pack(tuple(trees[i:j]), trees[i].nodes) for i, j in _cheapest_parts(len(trees), costs)]


_PART_COST = 32.0
"""What a tree or a pack costs by itself, in tokens; it settles ties in favour of fewer parts."""


def _cheapest_parts(count: int, costs: Callable[[int], tuple[int, npt.NDArray[np.float64]]]) -> list[tuple[int, int]]:
    """Cut [0, count) into consecutive parts [i, j) of least total cost.

    Args:
        count: number of things in a row.
        costs: for an end j returns (low, cost of [i, j) for i = low, ..., j - 1); asked for j = 1, 2, ..., count.
    """
    best = np.zeros(count + 1)
    cut = np.zeros(count + 1, dtype=np.int64)
    for j in range(1, count + 1):
        low, cost = costs(j)
        cost = cost + best[low:j]
        k = int(cost.argmin())
        best[j], cut[j] = cost[k], low + k
    parts: list[tuple[int, int]] = []
    j = count
    while j > 0:
        parts.append((int(cut[j]), j))
        j = int(cut[j])
    return parts[::-1]


def plan_packs(
    requests: Sequence[TokenRequest],
    rows: TokenRows,
    *,
    max_batch_tokens: int,
    tree_tokens: int,
    attention_scale: float,
    max_scored: int,
    width_multiple: int = 1,
) -> PackPlan:
    """Put the whole forest into packs.

    Args:
        requests: the requests that ``rows`` were built from.
        rows: result of ``build_rows``.
        max_batch_tokens: greatest number of positions of a pack, padding included; a longer row is a pack of its own.
        tree_tokens: see ``cut_trees``; at most ``max_batch_tokens`` is used.
        attention_scale: see ``cut_trees``.
        max_scored: greatest number of positions of a pack whose logits are computed (they need a vocabulary each).
        width_multiple: round a pack's width up to this (some attention kernels want aligned masks).
    """
    tree_tokens = min(tree_tokens, max_batch_tokens)
    trees = cut_trees(rows, tree_tokens, attention_scale, max_scored)
    # Rows above the limit stay alone. Other single rows need no mask; kept apart, they use the model's own attention.
    kinds: dict[tuple[int, int], list[Tree]] = {}
    for tree in trees:
        is_single = tree.stop - tree.start == 1
        alone = tree.start if tree.nodes > tree_tokens else -1
        kinds.setdefault((alone, int(is_single)), []).append(tree)
    packs: list[Pack] = []
    for kind in kinds.values():
        kind.sort(key=lambda tree: (-tree.nodes, tree.start))
        scored = [int(rows.scored[tree.start : tree.stop].sum()) for tree in kind]
        packs += group_trees(kind, scored, max_batch_tokens, max_scored)
    if width_multiple > 1:
        packs = [replace(pack, width=-(-pack.width // width_multiple) * width_multiple) for pack in packs]
    packs.sort(key=lambda pack: (-pack.tokens, pack.trees[0].start))
    return PackPlan(tuple(packs), len(requests), rows.forest_tokens, requests_sha256(requests))


def requests_sha256(requests: Sequence[TokenRequest]) -> str:
    """Return a hash of all requests in order."""
    digest = hashlib.sha256()
    for request in requests:
        whole = request.context_ids + request.continuation_ids
        numbers = array("I", (len(request.context_ids), len(request.continuation_ids), *whole))
        if sys.byteorder == "big":
            numbers.byteswap()
        digest.update(numbers.tobytes())
    return digest.hexdigest()


def split_pack(rows: TokenRows, pack: Pack) -> list[Pack]:
    """Return two packs that together score what ``pack`` scores, or the pack itself where it is a single row."""
    if len(pack.trees) > 1:
        half = len(pack.trees) // 2
        parts = [pack.trees[:half], pack.trees[half:]]
        return [Pack(trees, max(tree.nodes for tree in trees)) for trees in parts]
    (tree,) = pack.trees
    if tree.stop - tree.start == 1:
        return [pack]
    middle = (tree.start + tree.stop) // 2
    return [_tree_pack(rows, tree.start, middle), _tree_pack(rows, middle, tree.stop)]


def _tree_pack(rows: TokenRows, start: int, stop: int) -> Pack:
    fresh = rows.lengths[start + 1 : stop] - rows.shared[start + 1 : stop]
    nodes = int(rows.lengths[start] + fresh.sum())
    return Pack((Tree(start, stop, nodes),), nodes)
