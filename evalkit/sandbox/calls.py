"""The tester's side of the pipes to a candidate: questions out, plain values and exceptions back, and nothing else."""

from __future__ import annotations

import builtins
import contextlib
import itertools
import sys
from _thread import RLock
from types import GeneratorType
from typing import Any, NoReturn

from . import remote
from .abilities import COMPARISONS
from .channel import Channel, Ending, Malformed, Over, Uncrossed
from .crossing import CrossingError
from .decoding import Decoder, decode, decode_arguments
from .depth import FRAMES, MAX_NESTED, ROOM, TOO_DEEP, Depth
from .derived import derived
from .encoding import Encoder, encode, encode_arguments, encode_changes, is_simple
from .heap import Heap
from .parts import parts_of, restored
from .raised import Raiser
from .renewing import apply_changes
from .spoilt import Spoilt, spoil
from .stock import NAMED
from .wire import CROSSING_SHARE, WAKING_SECONDS


class CandidateSession:
    """What is said with one candidate. Mutable: numbers of messages, stand-ins, functions of the tests, the ending."""

    def __init__(self, channel: Channel, first_number: int) -> None:
        self._channel = channel
        self._number = first_number
        self._remotes: dict[int, Any] = {}
        self._generators: dict[int, tuple[int, Any, Any]] = {}
        """Generators of the candidate by their ids here: handle, generator, stand-in."""
        self._kinds: dict[int, Any] = {}
        """Classes of stand-ins by the handles of the candidate's classes."""
        self._callbacks: list[Any] = []
        self._exceptions: list[BaseException] = []
        self.calls = 0
        self.ending: Ending | None = None
        self.notes: dict[str, None] = {}
        """What could not cross so far, in order; it matters where the tests fail."""
        self.doubts: dict[str, None] = {}
        """What a pass rests on that the program was not asked, in order."""
        self.namespace: dict[str, Any] = {}
        """The prompt's own classes by name, of which instances cross."""
        self._raiser = Raiser(self.namespace)
        self._lock = RLock()
        self._talking = 0
        self._depth = Depth()
        self._nested = 0
        """Calls of functions of the tests that are under way, each within another."""
        self.entry: Any = None
        """What the tests call; the candidate's handle 0."""
        self.asks_for_class = False
        """Whether the program is to bring a class, whose methods may have any name."""
        self.place = ""
        """What a failure of the program's that has no line of its own comes from."""
        self.is_told_here = True
        """Whether the texts of program and tests tell if their names are their own (``plain.py``)."""
        self._memos = itertools.count()
        self._heap = Heap(0, parts_of)
        self._heap.note = self.notes.setdefault
        self.spoilt = ""
        """Why an object that the tests hold is not what the program made of it; empty where there is none."""
        self._decoder = Decoder(self._object, self._heap)

    # --- Values

    def _encoder(self) -> Encoder:
        return Encoder(
            self._other, lambda kind: self.namespace.get(kind.__name__) is kind, remote.handle_of, heap=self._heap
        )

    def _other(self, value: Any) -> Any:
        """A stand-in goes home by its handle; a function goes by its number; nothing else of the tests can cross."""
        if type(value) is Spoilt:
            raise CrossingError(self.spoilt)
        handle = 0 if value is self.entry else remote.handle_of(value)
        if id(value) in self._generators:  # the program's own, unless items of it are here already
            own, _, stands = self._generators[id(value)]
            handle = -1 if remote.is_ahead(stands) else own
        if handle >= 0:
            return {"h": handle}
        if callable(value) and not isinstance(value, type):
            self.notes.setdefault("signature and code of a function of the tests")
            doc = getattr(value, "__doc__", None)
            name = str(getattr(value, "__name__", ""))[:60]
            return {
                "k": [self._callback(value), name, "function", doc if type(doc) is str and is_simple(doc) else None]
            }
        if hasattr(type(value), "__next__"):
            kind = "generator" if isinstance(value, GeneratorType) else "iterator"
            return {"k": [self._callback(value), type(value).__name__, kind, None]}
        raise CrossingError(f"a {type(value).__name__} object")

    def _callback(self, value: Any) -> int:
        """The number of a function or an iterator of the tests."""
        for number, known in enumerate(self._callbacks):
            if known is value:
                return number
        self._callbacks.append(value)
        return len(self._callbacks) - 1

    def _object(self, tag: str, body: Any, decoder: Any) -> Any:
        """Build what the tags u, p, o, e and h stand for."""
        if tag == "e":
            return self._raiser.class_of(body)
        if tag == "h":
            return self._remotes[body] if body != 0 else self.entry
        if tag == "p":
            name, state = body
            kind = self.namespace[name]
            return restored(kind, decoder(state))
        if tag == "u":
            handle, name, base, names = body
            if type(handle) is not int or type(name) is not str or type(names) is not list:
                raise TypeError("not a subclass")
            replaced = frozenset(name for name in names[:100] if type(name) is str)
            if replaced & {"__eq__", "__lt__", "__contains__", "__hash__"}:
                self.notes.setdefault(f"comparisons of the program's own class {name[:60]}")
            return derived(self, handle, name[:60], decoder(base), replaced)
        if tag == "k":
            number = body[0]
            if type(number) is not int or number < 0:
                raise ValueError("not a function of the tests")
            return self._callbacks[number]
        handle, name, kind, abilities, class_handle = body
        if [*map(type, body)] != [int, str, str, list, int]:
            raise TypeError("not an object")
        if class_handle not in self._kinds:
            able = frozenset(a for a in abilities[:100] if type(a) is str)
            self._kinds[class_handle] = remote.remote_class(name[:60], able, self, class_handle)
        made: Any = remote.stand_in(self._kinds[class_handle], self, handle, kind)
        if kind == "generator":
            stands, made = made, remote.generator(made)
            self._generators[id(made)] = handle, made, stands
        self._remotes[handle] = made
        if {*COMPARISONS, "contains"} & set(map(str, abilities)):
            self.notes.setdefault(f"comparisons of the program's own class {name[:60]}")
        return made

    # --- Questions

    def call(self, handle: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call an object of the candidate; changes to the arguments come back."""
        self.calls += 1
        return self._exchange("call", handle, list(args), kwargs)

    def call_without_operand(self, value: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method that would compare with its arguments, if it gets none."""
        if args or kwargs:
            self.end(Uncrossed(f"{name} of the program's own class, which would be told what the tests expect"))
        return value()

    def ask(self, question: str, handle: int, arguments: list[Any]) -> Any:
        """Ask an object of the candidate."""
        return self._exchange(question, handle, arguments, {})

    def entry_value(self, text: str) -> Any:
        """What the program makes of an entry point (:attr:`EntryPoint.value`): the text itself for a function."""
        reply = self.ask("entry", 0, [text])
        if reply == (True,):
            return self.entry
        if type(reply) is not tuple or len(reply) != 2:
            self.end_malformed("no entry")
        return reply[1]

    def deep_copy(self, handle: int, memo: dict[Any, Any]) -> Any:
        """``copy.deepcopy`` of an object of the candidate, made there, with one memo there for each here; what is one
        object in the parts that each side copies is one in their copies, too."""
        number, told = memo.setdefault("evalkit", (next(self._memos), set()))
        alive = memo.setdefault(id(memo), [])  # as copy.deepcopy does: an id must not become another object's
        common = [entry.value for entry in self._heap.entries.values() if id(entry.value) in memo]
        common = [one for one in common if id(one) not in told]
        told.update(map(id, common))
        reply = self.ask("deepcopy", handle, [number, [[one, memo[id(one)]] for one in common]])
        try:
            made, copies = reply
            for one, copied in copies:
                if id(one) in self._heap.numbers and type(copied) is type(one):
                    alive.append(one)
                    memo.setdefault(id(one), copied)
                    told.add(id(one))
        except (TypeError, ValueError):
            self.end_malformed("no deep copy")
        return made

    def close_generator(self, handle: int) -> None:
        """Have a generator of the candidate ended, unless it is dropped while something else is said."""
        if self.ending is None and not self._talking:
            self.ask("close", handle, [])

    def note_operator(self, one: Any) -> None:
        """Name an operator that is not asked for."""
        self.notes.setdefault(f"operators of the program's own class {type(one).__name__} with a value of the tests")

    def operate(self, question: str, one: Any, other: object) -> Any:
        """An operator with two objects of the candidate, there; nothing of the tests is ever shown to it."""
        if remote.handle_of(other) < 0:
            if remote.Derived in type(one).__mro__:  # its base type has such an operator, too, which would answer
                self.end_uncrossed(
                    f"operators of the program's own class {type(one).__name__} with a value of the tests"
                )
            self.note_operator(one)
            return NotImplemented
        return self.ask(question, remote.handle_of(one), [other])

    def compare(self, question: str, one: Any, other: object) -> Any:
        """Compare two objects of the candidate, there; nothing of the tests is ever shown to it."""
        if remote.handle_of(other) < 0:
            return NotImplemented
        return self.ask(question, remote.handle_of(one), [other])

    def end_malformed(self, why: str) -> NoReturn:
        """End the sample: the candidate's answer is none."""
        self.end(Malformed(why))

    def end_uncrossed(self, what: str) -> NoReturn:
        """End the sample: the tests need what cannot cross."""
        self.end(Uncrossed(what))

    def end_spoilt(self) -> NoReturn:
        """End the sample: the tests look at an object whose content could not cross."""
        self.end(Uncrossed(self.spoilt))

    def end(self, ending: Ending) -> NoReturn:
        """End the sample."""
        self.ending = ending
        raise ending

    def close(self) -> None:
        """Take every voice from what is left of the sample: stand-ins in a cycle, suspended generators.

        The process may judge other samples, while the garbage collector still ends the objects of this one.
        """
        self.ending = self.ending or Over()
        self._channel = Channel((-1, -1, -1))
        self._heap.clear()
        self._heap.last = []
        self._remotes, self._kinds, self._callbacks, self._exceptions, self.namespace = {}, {}, [], [], {}
        self._generators = {}
        self.entry = None

    def _exchange(self, question: str, handle: int, arguments: list[Any], keywords: dict[str, Any]) -> Any:
        if self.ending is not None:
            raise self.ending
        self._depth.add(ROOM)
        try:
            with self._lock:  # tests may have threads
                self._talking += 1
                channel = self._channel
                # A question within the work on a message: a stand-in's hash, say, for a table's key. Its time is the
                # program's own.
                was_working = channel.stop_work()
                try:
                    return self._answered(question, handle, arguments, keywords)
                finally:
                    self._talking -= 1
                    channel.stop_work()
                    if was_working:
                        channel.start_work()
        except Ending as ending:
            self.ending = ending
            raise
        finally:
            self._depth.add(-ROOM)

    @property
    def is_plain(self) -> bool:
        """Whether only numbers, texts and their containers have crossed, and all of what they are."""
        return self.is_told_here and self._heap.is_plain and not (self.notes or self.doubts or self.spoilt)

    @property
    def crossing_seconds(self) -> float:
        """An estimate, from this side alone, of what the messages so far took beside the program's own work."""
        channel = self._channel
        return CROSSING_SHARE * channel.spent + WAKING_SECONDS * channel.exchanges

    def _answered(self, question: str, handle: int, arguments: list[Any], keywords: dict[str, Any]) -> Any:
        self._number += 1
        number = self._number
        heap = self._heap
        self._channel.start_work()
        message: dict[str, Any] = {"id": number, "do": question, "on": handle}
        if heap.entries and heap.is_full():
            message["forget"] = True
            self.notes.setdefault("objects of earlier calls, of which there are too many, as the same ones")
            heap.clear()
        try:
            message["values"] = encode_arguments(arguments, keywords, self._encoder)
        except CrossingError as error:
            raise Uncrossed(f"an argument of the tests: {error}") from None
        self._channel.stop_work()
        self._send(message)
        while True:
            reply = self._channel.receive()
            if reply.get("id") != number:
                raise Malformed("a reply to another call")
            if "callback" not in reply:
                break
            self._send(self._called_back(reply))
        if "threads" in reply:
            self.notes.setdefault("functions of the tests that the program's threads call after it has answered")
        if "malformed" in reply:
            raise Malformed(str(reply["malformed"])[:200])
        if "uncrossed" in reply:
            raise Uncrossed(str(reply["uncrossed"])[:200])
        if "ok" in reply:
            self._channel.start_work()
            value = self._decoded(reply["ok"]) if type(reply["ok"]) in (list, dict) else reply["ok"]
            self._take_changes(reply)
            return value
        self._channel.start_work()
        raised = self.raised(reply.get("raised"))
        self._take_changes(reply)
        raise raised

    def raised(self, told: Any) -> BaseException:
        """What the candidate says that it raised: the tests' own exception where one passed through it."""
        own = told.get("own") if type(told) is dict else None
        if type(own) is int and 0 <= own < len(self._exceptions):
            return self._exceptions[own]
        try:
            return self._raiser.make(told, self._decoder)
        except Exception:
            raise Malformed("an exception without classes, message, arguments and line") from None

    def _send(self, message: dict[str, Any]) -> None:
        """Send a message with what common objects have become."""
        self._channel.start_work()
        if self._heap.entries:
            changes = encode_changes(self._heap, self._encoder)
            for change in changes:
                if len(change) == 2:
                    raise Uncrossed(self.spoilt or f"what the tests made of an argument: {change[1]}")
            if changes:
                message["changes"] = changes
            if dropped := self._heap.prune():
                message["dropped"] = dropped
        self._channel.stop_work()
        self._channel.send(message)
        self._heap.settle()

    def _decoded(self, data: Any) -> Any:
        try:
            return decode(data, self._decoder)
        except ImportError as error:
            raise Uncrossed(f"a value of a module that the tests do not have: {error}") from None
        except Exception as error:  # whatever a constructor says to parts that do not suit it
            self._refused(error)
            raise Malformed("a value that is not plain data") from None

    @staticmethod
    def _refused(error: Exception) -> None:
        """Where it is the program's own: asked for the hash of an element, or to compare two; or the stack ended."""
        if isinstance(error, RecursionError) and not hasattr(error, "from_candidate"):
            raise Uncrossed(TOO_DEEP) from None
        if hasattr(error, "from_candidate"):
            name, message, _ = error.from_candidate
            why = f"a set or dict of which elements have changed their hashes: {name[:60]}: {message[:100]}"
            raise Uncrossed(why) from None

    def _take_changes(self, reply: dict[str, Any]) -> None:
        """Take over what the program made of common objects."""
        if "changes" in reply:
            try:
                apply_changes(reply["changes"], self._decoder, self._spoil)
            except ImportError as error:
                raise Uncrossed(f"a value of a module that the tests do not have: {error}") from None
            except Exception as error:
                self._refused(error)
                raise Malformed("changes that are not plain data") from None
        self._heap.settle()

    def _spoil(self, value: Any, why: str) -> None:
        """Beyond the limits: whatever looks at the object must not find its old content."""
        # Of the references, four are this call's and the table's: where there are no more, nobody can look at it.
        if sys.getrefcount(value) <= 4:
            return
        self.spoilt = self.spoilt or f"what the program made of an argument: {why}"
        self.notes.setdefault(self.spoilt)
        spoil(value, Spoilt(self))

    def _result(self, function: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """What a function of the tests returns, or its iterator's next item.

        Raises:
            RecursionError: too many of them, each within another.
        """
        if self._nested >= MAX_NESTED:
            self.notes.setdefault(TOO_DEEP)
            raise RecursionError("maximum recursion depth exceeded")
        self._nested += 1
        self._depth.add(FRAMES - ROOM)
        try:
            if isinstance(function, GeneratorType) and args and args[0] in ("send", "throw", "close"):
                return getattr(function, args[0])(*args[1:])
            return function(*args, **kwargs) if callable(function) else next(function)
        finally:
            self._depth.add(ROOM - FRAMES)
            self._nested -= 1

    def _called_back(self, reply: dict[str, Any]) -> dict[str, Any]:
        """Call a function of the tests on the candidate's word."""
        self._channel.start_work()
        try:
            index = reply["callback"]
            function = self._callbacks[index] if type(index) is int and index >= 0 else None
            args, kwargs = decode_arguments(reply["values"], self._decoder)
            if function is None:
                raise TypeError
        except Exception as error:
            self._refused(error)
            raise Malformed("a call of no function of the tests") from None
        self._take_changes(reply)
        self._channel.stop_work()
        try:
            result = self._result(function, args, kwargs)
            self._channel.start_work()  # until it is sent
            return {"returned": encode(result, self._encoder())}
        except CrossingError as error:
            raise Uncrossed(f"what a function of the tests returned: {error}") from None
        except Ending:
            raise
        except BaseException as error:  # SystemExit and KeyboardInterrupt, too, pass through the program
            kinds = [kind for kind in type(error).__mro__ if vars(builtins).get(kind.__name__) is kind]
            names = [kind.__name__ for kind in kinds if kind.__name__ in NAMED]
            self._exceptions.append(error)
            told = {
                "raises": names,
                "name": type(error).__name__,
                "message": str(error)[:500],
                "own": len(self._exceptions) - 1,
            }
            with contextlib.suppress(CrossingError):
                told["args"] = encode(list(error.args), self._encoder())
            return told
