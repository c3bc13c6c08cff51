"""multiprocessing's locks without named semaphores, which are files: a program here is one process, threads at most.

``multiprocessing.dummy`` and ``multiprocessing.pool.ThreadPool`` make such locks although no process ever shares them.
"""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from typing import Any

RECURSIVE_MUTEX = 0


class SemLock:
    """``_multiprocessing.SemLock`` for threads."""

    SEM_VALUE_MAX = (1 << 31) - 1

    def __init__(self, kind: int, value: int, maxvalue: int, name: str, unlink: bool) -> None:
        import threading

        del unlink
        del name  # None: nothing to register with a resource tracker, which would be a process
        self.kind, self.maxvalue, self.name, self.handle = kind, maxvalue, None, 0
        self._condition = threading.Condition(threading.Lock())
        self._value = value
        self._owner, self._count = 0, 0

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        import threading

        me = threading.get_ident()
        with self._condition:
            if self.kind == RECURSIVE_MUTEX and self._owner == me and self._count:
                self._count += 1
                return True
            free = self._condition.wait_for(lambda: self._value > 0, (timeout if block else 0))
            if free:
                self._value -= 1
                self._owner, self._count = me, self._count + 1
            return free

    def release(self) -> None:
        import threading

        with self._condition:
            if self.kind == RECURSIVE_MUTEX:
                if self._owner != threading.get_ident() or not self._count:
                    raise AssertionError("attempt to release recursive lock not owned by thread")
                self._count -= 1
                if self._count:
                    return
            elif self._value >= self.maxvalue:
                raise ValueError("semaphore or lock released too many times")
            else:
                self._count -= 1
            self._value += 1
            self._condition.notify()

    __enter__ = acquire

    def __exit__(self, *_: object) -> None:
        self.release()

    def _count_held(self) -> int:
        return self._count

    def _is_mine(self) -> bool:
        import threading

        return self._count > 0 and self._owner == threading.get_ident()

    def _get_value(self) -> int:
        return self._value

    def _is_zero(self) -> bool:
        return self._value == 0

    def _after_fork(self) -> None:
        self._count = 0


class _Finder:
    """Finds the interpreter's own ``_multiprocessing``, once, and has the lock for threads put in."""

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> Any:
        del path, target
        if name != "_multiprocessing":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)  # type: ignore[assignment]
        return spec


class _Loader:
    def __init__(self, real: Any) -> None:
        self.real = real

    def create_module(self, spec: Any) -> ModuleType:
        made: ModuleType = self.real.create_module(spec)
        return made

    def exec_module(self, module: Any) -> None:
        self.real.exec_module(module)
        module.SemLock = SemLock


def prepare_semaphores() -> None:
    """Let later imports of multiprocessing find the lock for threads."""
    sys.meta_path.insert(0, _Finder())
