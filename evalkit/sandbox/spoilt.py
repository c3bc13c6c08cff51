"""What stands in an object of the tests whose new content could not cross."""

from __future__ import annotations

import contextlib
import functools
import io
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from .calls import CandidateSession


class Spoilt:
    """Stands in an object whose new content could not cross: whoever looks at it ends the sample."""

    def __init__(self, session: CandidateSession) -> None:
        self._session = session

    def __getattr__(self, name: str) -> NoReturn:
        self._looked_at()

    def _looked_at(self, *_: object) -> NoReturn:
        self._session.end_spoilt()

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __hash__ = __bool__ = __len__ = _looked_at
    __iter__ = __contains__ = __getitem__ = __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _looked_at
    __str__ = __repr__ = __format__ = __int__ = __float__ = __index__ = __call__ = __abs__ = __neg__ = _looked_at


def spoil(value: Any, spoilt: Spoilt) -> None:
    """Take the old content from an object, as far as that can be done, so that tests which look at it notice."""
    for attempt in (_spoil_content, _spoil_attributes):
        with contextlib.suppress(Exception):
            attempt(value, spoilt)


def _spoil_content(value: Any, spoilt: Spoilt) -> None:
    if isinstance(value, io.StringIO | io.BytesIO):
        value.seek(0)
        value.truncate()
    elif hasattr(value, "fill"):  # an array of numpy
        value.fill(spoilt if value.dtype.kind == "O" else 0)
    else:
        del_items = value.clear if hasattr(value, "clear") else functools.partial(value.__delitem__, slice(None))
        del_items()
        if isinstance(value, dict):
            value["could not cross"] = spoilt
        elif hasattr(value, "append"):
            value.append(spoilt)


def _spoil_attributes(value: Any, spoilt: Spoilt) -> None:
    for name in list(vars(value)):
        object.__setattr__(value, name, spoilt)
