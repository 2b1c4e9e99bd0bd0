"""Under which account the embedded Postgres runs.

Postgres refuses to run as root, and data made by one account cannot be opened by another, so the
account is chosen once and recorded beside the data.
"""

import json
import os
import pwd
import subprocess
from pathlib import Path

from chassis.children import Account, launch_command

# Preferred accounts of a root that must not be root; the second exists everywhere.
PREFERRED_USERS = ("postgres", "nobody")
KINDS = ("user", "namespace", "searching-user")


class PostgresUnavailable(Exception):
    """The embedded Postgres cannot be had; the message says why, for people."""


def choose_account(postgres: Path, folder: Path) -> Account:
    """Choose the least privileged account that can run `postgres` and reach `folder`.

    Not being root we are that account ourselves. As root: an ordinary account; where the files are
    closed to it (below /root, say), a user namespace; where namespaces are forbidden (in many
    containers), the ordinary account with the right to pass through folders.
    """
    if os.geteuid() != 0:
        return Account("self", os.geteuid(), os.getegid())
    uid, gid = _ordinary_user()
    for kind in KINDS:
        account = Account(kind, uid, gid)
        if _can_run(account, postgres, folder):
            return account
    raise PostgresUnavailable(
        f"Postgres does not run as root, and no other account can reach {folder}: start as an"
        " ordinary user, or set LOYALTY_HOME to a folder that others may pass through"
    )


def recorded_account(record: Path) -> Account | None:
    """Answer the account that the data was made under, or None where there is no data yet.

    Raises PostgresUnavailable where we are not able to take it.
    """
    try:
        fields = json.loads(record.read_text())
    except FileNotFoundError:
        return None
    account = Account(str(fields["kind"]), int(fields["uid"]), int(fields["gid"]))
    me = os.geteuid()
    if me == 0:
        # Data of an ordinary account, opened by root, keeps its owner.
        return (
            Account("searching-user", account.uid, account.gid)
            if (account.kind == "self")
            else account
        )
    if account.kind in ("self", "user") and account.uid == me:
        return Account("self", me, os.getegid())
    owner = "root" if account.kind == "namespace" else f"uid {account.uid}"
    raise PostgresUnavailable(
        f"{record.parent} was made by {owner} ({account.kind}) and cannot be opened as uid {me}:"
        " run as before, or set LOYALTY_HOME to another folder"
    )


def record_account(record: Path, account: Account) -> None:
    """Write down the account that data is about to be made under."""
    new = record.with_suffix(".new")
    new.write_text(
        json.dumps({"kind": account.kind, "uid": account.uid, "gid": account.gid}) + "\n"
    )
    new.replace(record)


def owner_of_files(account: Account) -> tuple[int, int]:
    """Answer the uid and gid, seen from us, that the files of the account must belong to."""
    if account.kind in ("user", "searching-user"):
        return account.uid, account.gid
    return os.geteuid(), os.getegid()


def _ordinary_user() -> tuple[int, int]:
    for name in PREFERRED_USERS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    raise PostgresUnavailable("Postgres does not run as root, and there is no user nobody")


def _can_run(account: Account, postgres: Path, folder: Path) -> bool:
    command = launch_command([str(postgres), "--version"], account=account, directory=folder)
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env={"LC_ALL": "C"},
        timeout=30,
        check=False,
    )
    return done.returncode == 0
