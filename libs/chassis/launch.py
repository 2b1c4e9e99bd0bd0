"""Start a program that dies with its parent, under the account that it should have.

Run as a script, before anything else is imported: `python -I -S launch.py [options] -- program …`
becomes the program. Doing this in a process of its own, and not between fork and exec of a large
parent, is safe whatever threads the parent has.

The parent is a *thread* to the kernel: a child started from a thread that ends is signalled too, so
whoever starts children does it in the main thread.
"""

import argparse
import ctypes
import os
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CLONE_NEWUSER = 0x10000000
CAPABILITY_VERSION_3 = 0x20080522
CAP_DAC_OVERRIDE = 1
CAP_DAC_READ_SEARCH = 2
EXIT_NOT_STARTED = 126

libc = ctypes.CDLL(None, use_errno=True)


class CapabilityHeader(ctypes.Structure):
    """`struct __user_cap_header_struct` of capset(2)."""

    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class CapabilityData(ctypes.Structure):
    """`struct __user_cap_data_struct` of capset(2)."""

    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def check(result: int, what: str) -> None:
    """Raise OSError with errno where a call into libc failed."""
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def become_user(uid: int, gid: int) -> None:
    """Drop every privilege for an ordinary account."""
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def become_searching_user(uid: int, gid: int) -> None:
    """Drop every privilege but that of passing through folders closed to the account."""
    check(libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0), "prctl KEEPCAPS")
    become_user(uid, gid)
    for capability in (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE):
        bit = 1 << capability
        header = CapabilityHeader(CAPABILITY_VERSION_3, 0)
        data = (CapabilityData * 2)(CapabilityData(bit, bit, bit), CapabilityData(0, 0, 0))
        if libc.capset(ctypes.byref(header), ctypes.byref(data)) != 0:
            continue
        check(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0), "prctl AMBIENT")
        return
    raise PermissionError("no capability to pass through closed folders")


def enter_namespace(uid: int, gid: int) -> None:
    """Look like an ordinary account inside a user namespace, and stay what we are outside it."""
    outside_uid, outside_gid = os.geteuid(), os.getegid()
    check(libc.unshare(CLONE_NEWUSER), "unshare")
    for name, line in (
        ("setgroups", "deny"),
        ("uid_map", f"{uid} {outside_uid} 1"),
        ("gid_map", f"{gid} {outside_gid} 1"),
    ):
        with Path("/proc/self", name).open("w") as file:
            file.write(line)


ACCOUNTS = {
    "user": become_user,
    "searching-user": become_searching_user,
    "namespace": enter_namespace,
}


def die_with(parent: int, number: int) -> None:
    """Ask for a signal when the parent ends. Comes last: a change of account would undo it."""
    check(libc.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0), "prctl PDEATHSIG")
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Become the program named on the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--signal", type=int, required=True)
    parser.add_argument("--account", choices=(*ACCOUNTS, "self"), default="self")
    parser.add_argument("--uid", type=int, default=0)
    parser.add_argument("--gid", type=int, default=0)
    parser.add_argument("--directory", default=".")
    parser.add_argument("program", nargs="+")
    options = parser.parse_args()
    try:
        if options.account != "self":
            ACCOUNTS[options.account](options.uid, options.gid)
        os.chdir(options.directory)
        # Whoever holds signals back for itself does not mean the program.
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        die_with(options.parent, options.signal)
        os.execv(options.program[0], options.program)  # noqa: S606 - no shell is wanted
    except OSError as error:
        sys.stderr.write(f"{options.program[0]} cannot be started: {error}\n")
        sys.exit(EXIT_NOT_STARTED)


if __name__ == "__main__":
    main()
