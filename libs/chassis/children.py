"""Child processes that die with their parent."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

PR_SET_PDEATHSIG = 1
LAUNCHER = Path(__file__).with_name("launch.py")


@dataclass(frozen=True)
class Account:
    """Under which account a child runs.

    `kind` is `self` (as we are), `user` (`uid` and `gid`, nothing else), `searching-user` (the same
    and may pass through closed folders) or `namespace` (seems to be `uid`, is us outside).
    """

    kind: str = "self"
    uid: int = 0
    gid: int = 0


def launch_command(
    program: Sequence[str],
    *,
    death_signal: signal.Signals = signal.SIGKILL,
    account: Account | None = None,
    directory: Path | None = None,
) -> list[str]:
    """Answer the command that starts `program` so that it gets `death_signal` when we end."""
    account = account or Account()
    return [
        *(sys.executable, "-I", "-S", str(LAUNCHER)),
        *("--parent", str(os.getpid()), "--signal", str(int(death_signal))),
        *("--account", account.kind, "--uid", str(account.uid), "--gid", str(account.gid)),
        *("--directory", str(directory or Path.cwd())),
        *("--", *program),
    ]


def start_child(
    program: Sequence[str],
    *,
    environment: Mapping[str, str],
    output: IO[bytes] | int | None,
    death_signal: signal.Signals = signal.SIGKILL,
    account: Account | None = None,
    directory: Path | None = None,
) -> "subprocess.Popen[bytes]":
    """Start `program` in a session of its own, so that a terminal's Ctrl-C reaches only us.

    Call it in the main thread: the kernel signals the child when the calling thread ends.
    """
    return subprocess.Popen(
        launch_command(program, death_signal=death_signal, account=account, directory=directory),
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT if output is not None else None,
        start_new_session=True,
    )


def stop_child(
    process: "subprocess.Popen[bytes]", steps: Sequence[tuple[signal.Signals, float]]
) -> int:
    """Send each signal in turn and wait its seconds, then SIGKILL; answer the exit code."""
    for number, seconds in steps:
        if process.poll() is not None:
            break
        process.send_signal(number)
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            continue
    if process.poll() is None:
        process.kill()
    return process.wait()


def stop_with_parent() -> None:
    """Ask that this process gets SIGTERM when the one that started it ends, however it ends."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != parent:
        # It ended before we could ask.
        os.kill(os.getpid(), signal.SIGTERM)
