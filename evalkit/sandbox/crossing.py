"""What crosses between a candidate and its tester: plain data, as tagged JSON, and handles for everything else.

Nothing that crosses can run code, on either side: no pickle, no marshal, no types but the ones listed here and in
``stock.py``. JSON has null, booleans, integers, floats (with NaN and Infinity), strings and lists; the others are an
object with one key, their tag:

    t tuple   d dict [[key, value], ...]   s set   f frozenset   S, F these with a recipe for their order (``order.py``)
    b bytes (hex)   y bytearray (hex)   c complex [re, im]   i integer of more than 64 bits (hex)
    r range [start, stop, step]
    x [name, part, ...]        a stock type of ``stock.py``
    u [handle, class, value]   an instance of a subclass of a type above, as its base type's value
    p [class, state]           an instance of a class that the prompt defines, with its attributes
    o [handle, class, kind, abilities]   any other object: it stays where it is (``remote.py``); h handle: that again
    e [[module, name], ...]    a class of exceptions, with its bases (``raised.py``)
    k [number, name, kind]     a function or an iterator of the tests, called back by number
    m [number, content] or [number]   a mutable object that both sides have (``heap.py``), new or known
    w [node, ...]              a deep or cyclic value: lists, tuples, dicts and prompt objects that refer to each other
"""

from __future__ import annotations

MAX_DEPTH = 100  # nested containers in one value, before it is sent flat
DECODED_DEPTH = 6 * MAX_DEPTH + 8  # the same: a container is a tag and a list, or several, a pair within it another one
MAX_FLAT_DEPTH = 10_000  # in a flat value: hash() of a nested tuple recurses in C without a bound of its own
MAX_ITEMS = 2_000_000  # items in one message


class CrossingError(ValueError):
    """A value is too deep or too large to be sent."""
