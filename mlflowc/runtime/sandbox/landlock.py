"""Linux Landlock through system calls: a thread gives up all files but those it names, for good.

What a thread gave up, no process that it starts gets back. So the caller restricts a thread of its own,
starts the command from there, and lets the thread end. Rules only ever allow, and hold for everything below a
folder. Landlock is in Linux since 5.13 where the kernel was started with it; see landlock(7).
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntFlag
from functools import cache

from mlflowc.errors import Failure

# These numbers are the same on every architecture but alpha.
_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446
_VERSION_FLAG = 1
_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38


class Right(IntFlag):
    """What may be done with a file or a folder, as the kernel numbers it."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13
    TRUNCATE = 1 << 14
    IOCTL_DEV = 1 << 15


ALL = Right((1 << 16) - 1)
READ = Right.EXECUTE | Right.READ_FILE | Right.READ_DIR
DEVICE = READ | Right.WRITE_FILE | Right.TRUNCATE | Right.IOCTL_DEV
NAMES = Right.READ_DIR
_OF_FILES = Right.EXECUTE | Right.WRITE_FILE | Right.READ_FILE | Right.TRUNCATE | Right.IOCTL_DEV


@dataclass(frozen=True, slots=True)
class Rule:
    """`right` to `path`, and to all below it where that is a folder. Links are followed."""

    path: str
    right: Right


class _RulesetAttr(ctypes.Structure):
    _fields_ = (("handled_access_fs", ctypes.c_uint64),)


class _PathBeneathAttr(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


@cache
def abi() -> int:
    """The version of Landlock that this kernel offers; 0 where it has none, or has it turned off."""
    if not sys.platform.startswith("linux"):
        return 0
    return max(0, _syscall(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION_FLAG)))


def missing() -> str:
    """Why this system has no Landlock, as half a sentence; empty where it has."""
    if abi() > 0:
        return ""
    if not sys.platform.startswith("linux"):
        return "it takes Landlock, which only Linux has"
    return "it takes Landlock, which this kernel lacks or has turned off (Linux >= 5.13, `lsm=landlock`)"


def restrict(rules: Iterable[Rule]) -> None:
    """From now on the calling thread, and what it starts, has these rights to files and no others.

    What does not exist gives no right. Raises `Failure` where the kernel does not do it.
    """
    handled = _known(abi())
    if not handled:
        raise Failure(f"cannot enforce the sandbox: {missing()}")
    attr = _RulesetAttr(int(handled))
    ruleset = _syscall(_CREATE, ctypes.byref(attr), ctypes.c_size_t(ctypes.sizeof(attr)), ctypes.c_uint32(0))
    if ruleset < 0:
        raise _refused("make a set of rules")
    try:
        for rule in rules:
            _add(ruleset, rule, handled)
        libc = ctypes.CDLL(None, use_errno=True)
        one, zero = ctypes.c_ulong(1), ctypes.c_ulong(0)
        if libc.prctl(_PR_SET_NO_NEW_PRIVS, one, zero, zero, zero) != 0:
            raise _refused("give up privileges")
        if _syscall(_RESTRICT, ctypes.c_int(ruleset), ctypes.c_uint32(0)) != 0:
            raise _refused("restrict a thread")
    finally:
        os.close(ruleset)


def _add(ruleset: int, rule: Rule, handled: Right) -> None:
    try:
        fd = os.open(rule.path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        right = rule.right & handled
        if not os.path.isdir(f"/proc/self/fd/{fd}"):  # noqa: PTH112
            right &= _OF_FILES
        attr = _PathBeneathAttr(int(right), fd)
        if right and _syscall(
            _ADD_RULE,
            ctypes.c_int(ruleset),
            ctypes.c_int(_PATH_BENEATH),
            ctypes.byref(attr),
            ctypes.c_uint32(0),
        ):
            raise _refused(f"allow `{rule.path}`")
    finally:
        os.close(fd)


def _known(version: int) -> Right:
    """The rights that a version of Landlock knows. What it does not know, it cannot refuse."""
    if version <= 0:
        return Right(0)
    last = {1: 13, 2: 14, 3: 15, 4: 15}.get(version, 16)
    return Right((1 << last) - 1)


def _syscall(number: int, *args: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    return int(libc.syscall(ctypes.c_long(number), *args))


def _refused(what: str) -> Failure:
    return Failure(
        f"cannot enforce the sandbox: the kernel did not {what}: {os.strerror(ctypes.get_errno())}",
        help="nothing ran; `--sandbox off` runs without it",
    )
