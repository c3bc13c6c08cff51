"""What a candidate may ask of the kernel: one list, for x86-64 and aarch64.

An allow-list: what is not here gets EPERM. Calls that are safe only with certain arguments have rules; a rule is a list
of alternatives, an alternative a list of tests ``(argument index, mask, value)``, all of which must hold:
``argument & mask == value``. seccomp sees argument words only, never what a pointer points to, so calls whose
danger lies behind a pointer (clone3, openat2, sendmsg) are refused as a whole.

Numbers: arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h of the kernel. A test compares
them with the headers of the machine it runs on.
"""

from __future__ import annotations

OWN_PID = 0x7EADBEEF  # stands for the process's own id in a rule; replaced when the filter is installed

_WORD = 0xFFFFFFFF
_ALL = 0xFFFFFFFFFFFFFFFF
Rule = list[list[tuple[int, int, int]]]

# O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | __O_TMPFILE: the same bits on both architectures.
WRITE_OPEN = 0x3 | 0x40 | 0x200 | 0x400000
# pthread_create's flags in glibc: VM FS FILES SIGHAND THREAD SYSVSEM SETTLS PARENT_SETTID CHILD_CLEARTID. musl adds
# DETACHED.
THREAD_FLAGS = (0x3D0F00, 0x7D0F00)
AF_UNIX, SOCK_STREAM, SOCK_TYPE_MASK = 1, 1, 0xF
FCNTL_COMMANDS = (0, 1, 2, 3, 4, 1030)  # F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC
IOCTL_REQUESTS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)  # TCGETS TIOCGWINSZ FIONREAD FIONBIO FIONCLEX FIOCLEX

# Every signal number but those of SIGKILL (9) and SIGSTOP (19), as (mask, value): a process that was killed or stopped
# was so by another one.
OWN_SIGNALS = (
    *((_WORD & ~7, 0), (_WORD, 8), (_WORD & ~1, 10), (_WORD & ~3, 12), (_WORD & ~1, 16), (_WORD, 18)),
    *((_WORD & ~3, 20), (_WORD & ~7, 24), (_WORD & ~31, 32)),
)
# Every limit (mask, value) but those by whose breach the kernel sends SIGKILL: RLIMIT_CPU 0, RLIMIT_RTTIME 15.
OWN_LIMITS = ((_WORD, 1), (_WORD & ~1, 2), (_WORD & ~3, 4), (_WORD & ~3, 8), (_WORD & ~1, 12), (_WORD, 14))

RULES: dict[str, Rule] = {
    # Threads, never processes. glibc tries clone3 first and falls back to clone only on ENOSYS (see filter.py).
    "clone": [[(0, _WORD, flags)] for flags in THREAD_FLAGS],
    # Reading only. The flags are argument 1 of open and 2 of openat.
    "open": [[(1, WRITE_OPEN, 0)]],
    "openat": [[(2, WRITE_OPEN, 0)]],
    # Signals to oneself only: abort(), raise(), os.kill(os.getpid(), ...).
    "kill": [[(0, _WORD, OWN_PID), (1, mask, value)] for mask, value in OWN_SIGNALS],
    "tgkill": [[(0, _WORD, OWN_PID), (2, mask, value)] for mask, value in OWN_SIGNALS],
    # asyncio's wake-up pair. Not datagrams: they can be addressed to any socket of the machine.
    "socketpair": [[(0, _WORD, AF_UNIX), (1, SOCK_TYPE_MASK, SOCK_STREAM)]],
    "sendto": [[(4, _ALL, 0), (5, _WORD, 0)]],
    # No F_SETOWN and F_SETSIG (signals to others), no leases, no locks on shared files.
    "fcntl": [[(1, _WORD, command)] for command in FCNTL_COMMANDS],
    "ioctl": [[(1, _WORD, request)] for request in IOCTL_REQUESTS],
    # Limits of oneself; hard limits cannot be raised without a capability.
    "prlimit64": [
        [(0, _WORD, 0), (2, _ALL, 0)],  # asks only
        *([(0, _WORD, 0), (1, mask, value)] for mask, value in OWN_LIMITS),
    ],
}

# Name, x86-64, aarch64; None where the architecture lacks the call.
_TABLE = """
read 0 63
write 1 64
open 2 -
close 3 57
stat 4 -
fstat 5 80
lstat 6 -
poll 7 -
lseek 8 62
mmap 9 222
mprotect 10 226
munmap 11 215
brk 12 214
rt_sigaction 13 134
rt_sigprocmask 14 135
rt_sigreturn 15 139
ioctl 16 29
pread64 17 67
pwrite64 18 68
readv 19 65
writev 20 66
access 21 -
pipe 22 -
select 23 -
sched_yield 24 124
mremap 25 216
madvise 28 233
dup 32 23
dup2 33 -
pause 34 -
nanosleep 35 101
getitimer 36 102
alarm 37 -
setitimer 38 103
getpid 39 172
sendto 44 206
recvfrom 45 207
shutdown 48 210
getsockname 51 204
getpeername 52 205
socketpair 53 199
getsockopt 55 209
clone 56 220
exit 60 93
wait4 61 260
kill 62 129
uname 63 160
fcntl 72 25
getcwd 79 17
chdir 80 49
fchdir 81 50
readlink 89 -
umask 95 166
gettimeofday 96 169
getrlimit 97 163
getrusage 98 165
sysinfo 99 179
times 100 153
getuid 102 174
getgid 104 176
geteuid 107 175
getegid 108 177
getppid 110 173
getpgrp 111 -
getgroups 115 158
getresuid 118 148
getresgid 120 150
getpgid 121 155
getsid 124 156
rt_sigpending 127 136
rt_sigtimedwait 128 137
rt_sigsuspend 130 133
sigaltstack 131 132
getpriority 140 141
sched_getparam 143 121
sched_getscheduler 145 120
sched_get_priority_max 146 125
sched_get_priority_min 147 126
gettid 186 178
time 201 -
futex 202 98
sched_getaffinity 204 123
epoll_create 213 -
getdents64 217 61
set_tid_address 218 96
restart_syscall 219 128
clock_gettime 228 113
clock_getres 229 114
clock_nanosleep 230 115
exit_group 231 94
epoll_wait 232 -
epoll_ctl 233 21
tgkill 234 131
waitid 247 95
openat 257 56
newfstatat 262 79
readlinkat 267 78
faccessat 269 48
pselect6 270 72
ppoll 271 73
set_robust_list 273 99
get_robust_list 274 100
epoll_pwait 281 22
eventfd2 290 19
epoll_create1 291 20
dup3 292 24
pipe2 293 59
preadv 295 69
pwritev 296 70
prlimit64 302 261
getcpu 309 168
getrandom 318 278
membarrier 324 283
preadv2 327 286
pwritev2 328 287
statx 332 291
rseq 334 293
futex_waitv 449 449
close_range 436 436
faccessat2 439 439
epoll_pwait2 441 441
"""

# Used by the tester beyond the candidate's list (it hands descriptors to the nursery), and by probes and tests.
EXTRA_TABLE = """
sendmsg 46 211
recvmsg 47 212
clone3 435 435
fork 57 -
vfork 58 -
execve 59 221
execveat 322 281
socket 41 198
connect 42 203
bind 49 200
ptrace 101 117
prctl 157 167
setuid 105 146
chmod 90 -
fchmodat 268 53
unlink 87 -
unlinkat 263 35
mkdir 83 -
mkdirat 258 34
memfd_create 319 279
memfd_secret 447 447
shmget 29 194
shmat 30 196
msgget 68 186
semget 64 190
mq_open 240 180
io_uring_setup 425 425
process_vm_readv 310 270
process_vm_writev 311 271
pidfd_open 434 434
pidfd_send_signal 424 424
pidfd_getfd 438 438
tkill 200 130
rt_sigqueueinfo 129 138
rt_tgsigqueueinfo 297 240
setpriority 141 140
setrlimit 160 164
setsid 112 157
setpgid 109 154
unshare 272 97
setns 308 268
mount 165 40
chroot 161 51
pivot_root 155 41
bpf 321 280
perf_event_open 298 241
userfaultfd 323 282
keyctl 250 219
add_key 248 217
openat2 437 437
open_by_handle_at 304 265
name_to_handle_at 303 264
inotify_init1 294 26
fanotify_init 300 262
timer_create 222 107
sched_setaffinity 203 122
sched_setscheduler 144 119
kcmp 312 272
splice 275 76
vmsplice 278 75
seccomp 317 277
landlock_restrict_self 446 446
capset 126 91
personality 135 92
process_madvise 440 440
ioprio_set 251 30
truncate 76 45
fchmod 91 52
utimensat 280 88
linkat 265 37
symlinkat 266 36
renameat2 316 276
mlock 149 228
mlockall 151 230
"""


def _numbers(table: str, column: int) -> dict[str, int]:
    rows = (line.split() for line in table.split("\n") if line)
    return {row[0]: int(row[column]) for row in rows if row[column] != "-"}


# Machine name (uname -m) -> AUDIT_ARCH constant (linux/audit.h): the first word a filter must check.
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
ALLOWED = {"x86_64": _numbers(_TABLE, 1), "aarch64": _numbers(_TABLE, 2)}
OTHERS = {"x86_64": _numbers(EXTRA_TABLE, 1), "aarch64": _numbers(EXTRA_TABLE, 2)}
