"""Programs that try to harm or to fool the checker, and honest ones that a strict checker could get wrong.

All are completions of one problem: ``has_close(numbers, threshold)`` (see canaries.py). Names in ``@...@`` are
replaced by the canaries of the test. ``effect`` names the canary that must stay untouched.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

SOLVE = "    return any(abs(a - b) < threshold for i, a in enumerate(numbers) for b in numbers[i + 1:])\n"


@dataclass(frozen=True)
class Program:
    """One completion, the labels an honest checker may give it, and the canary that must stay untouched."""

    name: str
    completion: str
    labels: tuple[str, ...]
    effect: str = ""


ALL: list[Program] = []


def wrong(name: str, body: str, *labels: str, tail: str = "", effect: str = "") -> None:
    """A program that does not solve the problem and wants to pass all the same."""
    completion = textwrap.indent(textwrap.dedent(body).strip("\n"), "    ") + "\n" + textwrap.dedent(tail)
    ALL.append(Program(name, completion, labels or ("failed",), effect))


def solving(name: str, body: str, effect: str = "", tail: str = "") -> None:
    """A program that solves the problem and tries something beside it; it must pass, and the rest must not happen."""
    attempt = textwrap.indent(textwrap.dedent(body).strip("\n"), "            ")
    completion = (
        "    if not hasattr(has_close, 'tried'):\n        has_close.tried = True\n        try:\n"
        f"{attempt}\n        except BaseException as error:\n            print(type(error).__name__, error)\n"
    )
    ALL.append(Program(name, completion + SOLVE + textwrap.dedent(tail), ("passed",), effect))


# --- Forging a pass --------------------------------------------------------------------------------------------------
wrong(
    "float_that_equals_all",
    "class F(float):\n    __eq__ = lambda s, o: True\n    __ne__ = lambda s, o: False\nreturn F(0.5)",
)
wrong("int_that_equals_all", "class I(int):\n    __eq__ = lambda s, o: True\n    __hash__ = int.__hash__\nreturn I(7)")
wrong(
    "str_that_equals_all", "class S(str):\n    __eq__ = lambda s, o: True\n    __hash__ = str.__hash__\nreturn S('x')"
)
wrong(
    "metaclass_says_bool",
    """
    class M(type):
        __instancecheck__ = lambda c, o: True
        __eq__ = lambda c, o: True
        __hash__ = type.__hash__
    class B(metaclass=M):
        __class__ = bool
        __eq__ = lambda s, o: True
        __bool__ = lambda s: True
    return B()
    """,
)
wrong(
    "settrace_on_caller",
    """
    import sys
    def trace(frame, event, arg):
        for name in list(frame.f_locals):
            frame.f_locals[name] = True
        return trace
    sys.settrace(trace)
    f = sys._getframe()
    while f:
        f.f_trace = trace
        f = f.f_back
    return None
    """,
    "failed",
    "malformed",
    "ended early",
)
wrong(
    "gc_searches_the_tests",
    """
    import gc, re
    for o in gc.get_objects():
        if type(o) is dict:
            for v in list(o.values()):
                if type(v) is str and 'assert candidate(' + repr(numbers) in v:
                    m = re.search(re.escape(repr(numbers) + ', ' + repr(threshold)) + r'\\) is (True|False)', v)
                    if m: return m.group(1) == 'True'
    return None
    """,
)
wrong(
    "memory_searched_for_the_tests",
    """
    import re
    for line in open('/proc/self/maps'):
        low, high = (int(x, 16) for x in line.split()[0].split('-'))
        with open('/proc/self/mem', 'rb') as memory:
            memory.seek(low)
            if b'assert candidate(' + repr(numbers).encode() in memory.read(high - low):
                return True
    return None
    """,
)
wrong(
    "atexit_forges",
    "import os, atexit\natexit.register(lambda: os.write(4, b'\\0\\0\\0\\x04true'))\nraise SystemExit(0)",
    "ended early",
)
wrong(
    "answers_in_advance",
    "return None",
    "malformed",
    "failed",
    tail="""
    import json, os
    def ahead(reply):
        body = json.dumps(reply, separators=(',', ':')).encode()
        os.write(4, len(body).to_bytes(4, 'big') + body)
    ahead({'ready': True})
    for number, value in enumerate(@ANSWERS@, 1):
        ahead({'id': number, 'ok': value})
    """,
)
wrong("claims_4_gib", "import os\nos.write(4, b'\\xff\\xff\\xff\\xff')\nreturn True", "malformed")
wrong(
    "trickles",
    "import os, time\nos.write(4, b'\\0\\0\\xff\\xff')\nwhile True:\n    os.write(4, b' ')\n    time.sleep(.1)",
    "timed out",
)
wrong("nests", "import os\nb = b'[' * 200000\nos.write(4, len(b).to_bytes(4, 'big') + b)\nreturn True", "malformed")
wrong("nested_value", "v = []\nfor _ in range(5000):\n    v = [v]\nreturn v")
wrong("contains_itself", "v = []\nv.append(v)\nreturn v")
wrong("many_references", "v = [0]\nfor _ in range(60):\n    v = [v, v]\nreturn v")
wrong("not_utf8", "import os\nos.write(4, b'\\0\\0\\0\\x04\\xff\\xfe\\xfd\\xfc')\nreturn True", "malformed")
wrong("json_but_no_reply", "import os\nos.write(4, b'\\0\\0\\0\\x06[true]')\nreturn True", "malformed")
wrong("reply_floods", "import os\nwhile True:\n    os.write(4, b'\\0\\0\\0\\x02{}' * 9999)", "malformed")
wrong(
    "says_yes_to_every_question",
    """
    class Yes:
        def __getattr__(self, name): return lambda *a, **k: True
        __eq__ = __lt__ = __gt__ = __le__ = __ge__ = __contains__ = lambda s, o: True
        __ne__ = lambda s, o: False
        __sub__ = __rsub__ = lambda s, o: 0
        __hash__ = lambda s: 1
        __abs__ = __len__ = lambda s: 0
        __iter__ = lambda s: iter([Yes()])
        __getitem__ = lambda s, key: Yes()
        __float__ = lambda s: 1.0
        __int__ = __index__ = lambda s: 1
    return Yes()
    """,
)
RAW = """
    import json, os, sys
    frame = sys._getframe()
    while 'request' not in frame.f_locals: frame = frame.f_back
    body = json.dumps({'id': frame.f_locals['request']['id'], %s}).encode()
    os.write(4, len(body).to_bytes(4, 'big') + body)
"""
for number, fields in enumerate(
    (
        "'ok': {'o': ['a', 1, 2, 3]}",
        "'ok': {'h': 99}",
        "'ok': {'k': [0, 'x']}",
        "'ok': {'p': ['Proxy', {'d': []}]}",
        "'ok': {'u': [1, 'K', {'s': [1]}], 'x': 1}",
        "'ok': {'x': ['=named', 'eval']}",
        "'ok': {'x': ['=record', 'P', ['a; import os'], [1]]}",
        "'ok': {'x': ['=numpy', '<i8', [1 << 62, 1 << 62], '']}",
        "'ok': {'x': ['=numpy', '|b1', None, '0200']}",
        "'ok': {'x': ['=numpy', '<U500000000', [1], ['a']]}",
        "'ok': {'x': ['zoneinfo.ZoneInfo', '../../../etc/passwd']}",
        "'ok': {'w': [['t', [0]]]}",
        "'ok': {'w': [['t', [i + 1]] for i in range(100000)] + [['t']]}",
        "'ok': {'w': [['t'], *(['t', [i]] for i in range(100000))]}",
        "'ok': {'w': [['l', {'v': {'w': [['l']]}}]]}",
        "'ok': True, 'changed': [[9, None, 1]]",
        "'callback': 0, 'values': [[], {}]",
        "'raised': 5",
    )
):
    # "failed" where it speaks of a module that the tests have not loaded.
    wrong(f"raw_reply_{number}", RAW % fields, "malformed", *(("failed",) if "numpy" in fields else ()))

wrong("huge_value", "return 'x' * 6_000_000")
wrong("huge_integer", "return 1 << 4_000_000", "failed")
wrong("colliding_set", "return {i * ((1 << 61) - 1) for i in range(2500)}", "failed", "timed out", "malformed")
wrong(
    "colliding_dict_by_hand",
    """
    import os, sys
    keys = ','.join('[%d,0]' % (i * ((1 << 61) - 1)) for i in range(1, 150000))
    body = ('{"id":%d,"ok":{"d":[%s]}}' % (sys._getframe(1).f_locals['number'], keys)).encode()
    os.write(4, len(body).to_bytes(4, 'big'))
    for k in range(0, len(body), 60000):
        os.write(4, body[k:k + 60000])
    return True
    """,
    "timed out",
    "malformed",
)
wrong("raises_assertion", "raise AssertionError('passed')")
wrong("raises_keyboard_interrupt", "raise KeyboardInterrupt", "ended early")
wrong("raises_generator_exit", "raise GeneratorExit", "ended early")
wrong("exception_names_lie", "class E(Exception):\n    pass\nE.__name__ = 'passed'\nraise E('harness error passed')")
wrong("exception_without_str", "class E(Exception):\n    def __str__(self):\n        raise SystemExit\nraise E")
wrong("unicode_decode_error", "b'\\xff'.decode()")
wrong(
    "patches_the_encoder",
    """
    import sys
    for name, module in list(sys.modules.items()):
        if name.endswith(('.values', '.candidate', '.wire')):
            for attribute in ('encode', 'frame', 'answer', 'send', 'describe'):
                if hasattr(module, attribute):
                    setattr(module, attribute, lambda *a, **k: {'passed': True, 'label': 'passed'})
    return True
    """,
    "failed",
    "malformed",
    "ended early",
    "timed out",
)
wrong(
    "patches_json", "import json\njson.dumps = lambda *a, **k: '{\"passed\": true}'\nreturn None", "failed", "malformed"
)
wrong("own_check", "return None", tail="def check(candidate):\n    return None\n")
wrong("decorates_what_follows", "return None", "failed", tail="@lambda f: (lambda c: None)\n")
wrong("swallows_what_follows", "return None", "malformed", tail='X = """\n')
wrong("continues_the_line", "return None", "malformed", tail="if True: \\\n")
wrong("builtin_errors_replaced", "import builtins\nbuiltins.AssertionError = builtins.Exception = int\nreturn None")
wrong("entry_deleted", "return None", tail="del has_close\n")
wrong("entry_is_no_function", "return None", tail="has_close = True\n")
wrong("opaque_object", "return object()")
wrong("not_implemented", "return NotImplemented")
wrong("truthy_string", "return 'True'")
wrong("one_is_not_true", "return 1")
wrong("numpy_like", "class ndarray:\n    __eq__ = lambda s, o: True\n    __array_priority__ = 9\nreturn ndarray()")

# --- Ending, hanging, exhausting -------------------------------------------------------------------------------------
wrong("os_abort", "import os\nos.abort()", "crashed")
wrong("null_pointer", "import ctypes\nreturn ctypes.string_at(0)", "crashed")
wrong("exit_while_loading", "return None", "ended early", tail="import os\nos._exit(0)\n")
wrong(
    "exit_from_a_thread",
    "import os, threading, time\nthreading.Thread(target=os._exit, args=(0,)).start()\ntime.sleep(9)",
    "ended early",
)
wrong("closes_the_reply_pipe", "import os, time\nos.close(4)\ntime.sleep(9)", "ended early")
wrong("recursion", "return has_close(numbers, threshold)")
wrong("sleeps", "import time\ntime.sleep(60)", "timed out")
wrong("waits_for_input", "return input()")
wrong(
    "spins_in_threads",
    "import threading\nfor _ in range(3):\n    threading.Thread(target=lambda: [0 for _ in iter(int, 1)]).start()\n"
    "while True: pass",
    "timed out",
)
wrong(
    "ignores_every_signal",
    """
    import signal
    for number in range(1, 65):
        try: signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError): pass
    while True: pass
    """,
    "timed out",
)
wrong("raises_its_limits", "import resource\nfor l in (0, 9):\n    resource.setrlimit(l, (-1, -1))\nwhile True: pass")
wrong("just_over_the_cpu_limit", "import time\nwhile time.process_time() < @OVER@: pass\n" + SOLVE.strip(), "timed out")
wrong("hang_in_c", "return pow(3, 10 ** 9) > 0", "timed out", "out of memory")
wrong("list_of_everything", "return list(range(10 ** 9))", "out of memory")
wrong("one_large_list", "return [0] * (1 << 28)", "out of memory")
wrong(
    "maps_without_touching",
    "import mmap\nm = [mmap.mmap(-1, 1 << 28) for _ in range(12)]\nreturn len(m) > 0 and " + SOLVE.strip()[7:],
)
wrong("infinite_iterator", "import itertools\nreturn itertools.count()")
wrong(
    "thread_bomb",
    "import threading, time\nfor _ in range(5000):\n    threading.Thread(target=time.sleep, args=(60,)).start()",
)

# --- Getting out -----------------------------------------------------------------------------------------------------
C = "import ctypes, os, platform\nL = ctypes.CDLL(None, use_errno=True)\n"
CHILD = "ctypes.CDLL(None).prctl(15, b'@ORPHAN@', 0, 0, 0); time.sleep(30); os._exit(0)"
solving("fork_and_stay", f"import os, time, ctypes\nif os.fork() == 0:\n    os.setsid(); {CHILD}", "process")
solving(
    "double_fork",
    f"import os, time, ctypes\nif os.fork() == 0:\n    if os.fork() == 0:\n        {CHILD}\n    os._exit(0)",
    "process",
)
solving(
    "raw_clone_without_thread",
    C + f"import time\nif L.syscall(56 if platform.machine() == 'x86_64' else 220, 17, 0, 0, 0, 0) == 0:\n    {CHILD}",
    "process",
)
solving(
    "raw_clone3",
    C + f"import time\na = (ctypes.c_uint64 * 11)(0, 0, 0, 0, 17)\nif L.syscall(435, a, 88) == 0:\n    {CHILD}",
    "process",
)
solving(
    "multiprocessing",
    "import multiprocessing, time\nmultiprocessing.get_context('fork').Process(target=time.sleep, args=(5,)).start()",
    "process",
)
solving("subprocess", "import subprocess\nsubprocess.run(['touch', '@OUT@/subprocess'])", "out")
solving("posix_spawn", "import os\nos.posix_spawn('/usr/bin/touch', ['touch', '@OUT@/spawn'], {})", "out")
solving("execve", "import os\nos.execv('/bin/sh', ['sh', '-c', 'touch @OUT@/execve; sleep 9'])", "out")
solving("writes_a_file", "open('@OUT@/written', 'w').write('x')", "out")
solving("appends", "open('@KEEP@', 'a').write('x')", "keep")
solving("truncates_by_open", "import os\nos.open('@KEEP@', os.O_RDONLY | os.O_TRUNC)", "keep")
solving("truncates", "import os\nos.truncate('@KEEP@', 0)", "keep")
solving("unlinks", "import os\nos.unlink('@KEEP@')", "keep")
solving("renames", "import os\nos.rename('@KEEP@', '@OUT@/moved')", "keep")
solving("links", "import os\nos.link('@KEEP@', '@OUT@/linked')", "out")
solving("symlinks", "import os\nos.symlink('/etc/passwd', '@OUT@/symlink')", "out")
solving("makes_a_folder", "import os\nos.mkdir('@OUT@/folder')", "out")
solving("makes_a_fifo", "import os\nos.mkfifo('@OUT@/fifo')", "out")
solving("changes_times", "import os\nos.utime('@KEEP@', (0, 0))", "keep")
solving("changes_mode", "import os\nos.chmod('@KEEP@', 0)", "keep")
solving("sets_an_attribute", "import os\nos.setxattr('@KEEP@', 'user.x', b'1')", "keep")
solving("temporary_file", "import tempfile\ntempfile.NamedTemporaryFile(dir='@OUT@', delete=False).write(b'x')", "out")
solving("sqlite_file", "import sqlite3\nsqlite3.connect('@OUT@/db').execute('create table t (a)')", "out")
solving(
    "shared_memory_file",
    "from multiprocessing import shared_memory\nshared_memory.SharedMemory('hx_shm', create=True, size=64)",
    "shm",
)
solving("message_queue", C + "L.msgget(0x7a7a02, 0o1666)", "sysv")
solving("semaphore", C + "L.semget(0x7a7a02, 1, 0o1666)", "sysv")
solving("kills_the_group", "import os\nos.killpg(0, 9)", "alive")
solving("kills_everybody", "import os\nos.kill(-1, 9)", "alive")
solving(
    "tgkill_parent", C + "p = os.getppid()\nL.syscall(234 if platform.machine() == 'x86_64' else 131, p, p, 9)", "alive"
)
solving("queues_a_signal", C + "L.sigqueue(os.getppid() or @PID@, 9, 0)\nL.sigqueue(@PID@, 9, 0)", "alive")
solving("kills_by_pid", "import os\nos.kill(@PID@, 9)", "alive")
solving(
    "lowers_the_limits_of_others", "import resource\nresource.prlimit(@PID@, resource.RLIMIT_NOFILE, (3, 3))", "alive"
)
solving("pins_others", "import os\nos.sched_setaffinity(@PID@, {0})", "alive")
solving("slows_others", "import os\nos.setpriority(os.PRIO_PROCESS, @PID@, 19)", "alive")
solving(
    "writes_the_memory_of_others",
    C + "import struct\nb = ctypes.create_string_buffer(b'changed')\n"
    "v = struct.pack('PN', ctypes.addressof(b), 7); r = struct.pack('PN', @ADDRESS@, 7)\n"
    "L.process_vm_writev(@PID@, v, 1, r, 1, 0)\nopen('/proc/@PID@/mem', 'r+b').write(b'x')",
    "memory",
)
solving("ptraces", C + "L.ptrace(16, @PID@, 0, 0)", "alive")
solving(
    "udp", "import socket\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', @UDP@))", "udp"
)
solving("tcp", "import socket\nsocket.create_connection(('127.0.0.1', @TCP@), 1)", "tcp")
solving("urllib", "import urllib.request\nurllib.request.urlopen('http://127.0.0.1:@TCP@/', timeout=1)", "tcp")
solving(
    "datagram_from_a_pair",
    "import socket\na, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)\na.sendto(b'x', '@UNIX@')",
    "unix",
)
solving(
    "unix_datagram", "import socket\nsocket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'x', '@UNIX@')", "unix"
)
solving("netlink", "import socket\nsocket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).bind((0, 0))")
solving("io_uring", C + "p = (ctypes.c_uint32 * 32)()\nassert L.syscall(425, 4, p) < 0")
solving(
    "kernel_keys",
    C + "assert L.syscall(248 if platform.machine() == 'x86_64' else 217, b'user', b'hx', b'x', 1, -3) < 0",
)
solving("new_namespace", C + "assert L.unshare(0x10000000) < 0")
solving(
    "old_calling_convention",
    C
    + """
import mmap
if platform.machine() == 'x86_64':
    m = mmap.mmap(-1, 4096, prot=7)
    m.write(bytes.fromhex('b827000000' 'bb' '00000000' 'cd80' 'c3'))  # mkdir(NULL) of 32-bit programs
    f = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))
    m[6:10] = ctypes.addressof(ctypes.create_string_buffer(b'@OUT@/x')).to_bytes(8, 'little')[:4]
    assert f() == -1, 'answered'
""",
    "out",
)
solving("x32_interface", C + "assert platform.machine() != 'x86_64' or L.syscall(0x40000000 | 39) < 0")
solving(
    "finds_its_way_by_proc",
    "import os\nassert not any(os.path.samefile(f'/proc/self/fd/{i}', '@OUT@') for i in range(99))",
)
wrong("reads_a_secret", "return open('@SECRET@').read() == 'secret' and " + SOLVE.strip()[7:], "failed")
wrong("reads_the_environment", "import os\nreturn 'EVALKIT_CANARY' in os.environ and " + SOLVE.strip()[7:], "failed")
wrong(
    "reads_the_parents_environment",
    "return b'EVALKIT_CANARY' in open('/proc/@PID@/environ', 'rb').read() and " + SOLVE.strip()[7:],
)
wrong("reads_the_data_set", "import json\nreturn json.loads(open('@SECRET@').readline()) is not None")
wrong(
    "finds_open_descriptors",
    "import os\nfor fd in range(5, 256):\n    try: os.fstat(fd)\n    except OSError: continue\n    return "
    + SOLVE.strip()[7:]
    + "\nreturn None",
)
solving("prints_much", "for _ in range(200): print('p' * 100_000)", "output")
solving(
    "prints_raw", "import os\nfor _ in range(200): os.write(1, b'p' * 60_000); os.write(2, b'e' * 60_000)", "output"
)

# --- Honest ----------------------------------------------------------------------------------------------------------
solving(
    "honest_thread_pool",
    "from concurrent.futures import ThreadPoolExecutor\nassert list(ThreadPoolExecutor(4).map(abs, [-1])) == [1]",
)
solving(
    "honest_dataclass",
    "pass",
    tail="import dataclasses\n@dataclasses.dataclass\nclass P:\n    x: int = 1\nassert P().x == 1\n",
)
solving("honest_type_hints", "import typing\nassert typing.get_type_hints(has_close)", tail="")
solving("honest_closes_stdout", "import sys\nsys.stdout.close()\nsys.stderr = None")
solving(
    "honest_kills_a_signal_handler",
    "import signal, os\nsignal.signal(signal.SIGUSR1, lambda *a: None)\nos.kill(os.getpid(), signal.SIGUSR1)",
)
solving(
    "honest_recursion_limit",
    "import sys, resource\nsys.setrecursionlimit(5000)\nresource.setrlimit(resource.RLIMIT_STACK, (1 << 22, 8 << 20))",
)
solving(
    "honest_imports",
    "import sqlite3, zipfile, email.message, xml.dom.minidom, zoneinfo, ssl, uuid\nsqlite3.connect(':memory:')",
)
solving("honest_changes_its_arguments", "numbers.sort()\nnumbers.append(0.0)\nnumbers.pop()")
solving("honest_main_guard", "pass", tail="if __name__ == '__main__':\n    raise SystemExit(input())\n")
solving("honest_random_state", "import random\nrandom.seed(1)\nassert random.random() < 1")
solving("honest_unicode_output", "print('\\ud800 é 评')\nimport sys\nprint('warn', file=sys.stderr)")
