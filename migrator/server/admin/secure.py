"""A least-privilege user for a job: made, let into one database, and proven to do its job and no more."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from migrator.couch.settings import check_security
from migrator.errors import ConfigError, VerificationError
from migrator.files.durable import create_whole
from migrator.files.failures import password_in, writing
from migrator.naming import printable, shown
from migrator.server.admin.connection import Server

USERS = "_users"
ID_PREFIX = "org.couchdb.user:"
ADMIN_ROLE = "_admin"
# Other databases that are looked at with the new user's eyes.
MAX_NEIGHBOURS = 50
VARIABLE = "MIGRATOR_USER_PASSWORD"
PASSWORD_BYTES = 24


@dataclass
class Secured:
    """What `secure` did or would do; `changes`, `warnings` and `proofs` are sentences for people."""

    database: str
    user: str
    security: dict[str, Any]
    changes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    proofs: list[str] = field(default_factory=list)
    dry_run: bool = False

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        return {"schema": 1, "ok": True, **vars(self)}


def secure(
    server: Server,
    database: str,
    user: str,
    password: str | None,
    *,
    roles: Sequence[str] = (),
    admin: bool = False,
    dry_run: bool = False,
) -> Secured:
    """Make a user, let it into one database, and prove by logging in that it can do its job and not more.

    Args:
        server: the server, with an admin's credentials.
        database: the one database of the job.
        user: its name.
        password: its password; None keeps that of a user who is there, who is then not proven.
        roles: let this role into the database, and give it to the user; the user by name without any.
        admin: the job writes design documents or `_security` too.
        dry_run: look only.

    Raises:
        ConfigError: there is no such database, or a name cannot be.
        VerificationError: the user cannot do its job, or can do more.
    """
    _check_names(user, roles)
    server.require(database)
    security = server.value(f"Reading _security of {database}", "GET", database, "_security")
    check_security(security, database)
    wanted = wanted_security(security, user, roles, admin=admin)
    secured = Secured(database, user, wanted, dry_run=dry_run)
    secured.warnings += warnings(server, database, security, wanted)
    stored = stored_user(server, user)
    if stored is None and password is None and not dry_run:
        raise ConfigError(f"There is no user {user} yet, and no password for it.", hint="Give --password-file.")
    made = _user_document(stored, user, password, roles)
    if stored is None:
        secured.changes.append(f"make the user {user}" + (f" with the roles {', '.join(roles)}" if roles else ""))
    elif made != stored:
        secured.changes.append(f"change the user {user} (password or roles)")
    if wanted != security:
        who = f"the role {', '.join(roles)}" if roles else f"the user {user}"
        part = "admins" if admin else "members"
        secured.changes.append(f"let {who} into {database} as one of its {part}")
    if dry_run:
        return secured
    if made != stored:
        path = (USERS, ID_PREFIX + user)
        server.ask(f"Writing the user {user}", "PUT", *path, ok=(201, 202), again=(409,), value=made)
    if wanted != security:
        server.ask(f"Writing _security of {database}", "PUT", database, "_security", value=wanted)
    if password is not None:
        secured.proofs = _prove(server, database, wanted, user, password, admin=admin)
    else:
        secured.warnings.append("No password was given, so the user was not tried.")
    return secured


def wanted_security(
    security: Mapping[str, Any], user: str, roles: Sequence[str], *, admin: bool = False
) -> dict[str, Any]:
    """`_security` with the user or its roles let in, and everything else as it was."""
    part = "admins" if admin else "members"
    wanted = {"admins": {}, "members": {}, **security}
    kind, names = ("roles", list(roles)) if roles else ("names", [user])
    section = dict(wanted.get(part) or {})
    section[kind] = list(dict.fromkeys([*(section.get(kind) or []), *names]))
    wanted[part] = section
    return wanted


def open_to_everybody(security: Mapping[str, Any]) -> bool:
    """True when `_security` names no member, so that every user may read and write."""
    members = security.get("members") or security.get("readers") or {}
    return not members.get("names") and not members.get("roles")


def warnings(server: Server, database: str, security: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """What makes a least-privilege user worth less than it seems."""
    found = []
    if is_admin_party(server):
        found.append(
            f"Admin party: {server.url} takes everybody for an admin, so no user can have fewer rights. "
            "Set an admin in local.ini under [admins] first."
        )
    if server.url.startswith("http:") and not server.endpoint.local:
        found.append(f"{server.url} is another host without TLS: the password travels in the clear. Use https.")
    members = security.get("members") or {}
    if open_to_everybody(wanted):
        found.append(f"{database} names no members, so everybody may read and write it.")
    elif open_to_everybody(security):
        found.append(f"{database} was open to everybody; from now on it is open to its members only.")
    elif members.get("roles") == [ADMIN_ROLE] and not members.get("names"):
        found.append(
            f"{database} had the admin-only default: no application could use it; the user is let in beside."
        )
    return found


def is_admin_party(server: Server) -> bool:
    """True when who sends no credentials is an admin."""
    with server.client_as() as client:
        answer = client.call("GET", "_session")
    return answer.status == 200 and (ADMIN_ROLE in (answer.json("_session").get("userCtx") or {}).get("roles", []))


def _prove(
    server: Server, database: str, security: Mapping[str, Any], user: str, password: str, *, admin: bool
) -> list[str]:
    """Log in as the user once; what it can do and cannot do, as sentences.

    `_security` is written again as it is, to see whether the user may.

    Raises:
        VerificationError: the user cannot do its job, or can do more.
    """
    proofs, faults = [], []

    with server.client_as(user, password) as client:

        def check(what: str, expected: bool, method: str, *path: str, **request: Any) -> None:
            status = client.call(method, *path, **request).status
            if (status < 400) is expected:
                proofs.append(f"{user} {'can' if expected else 'cannot'} {what}")
            else:
                faults.append(f"{user} {'cannot' if expected else 'can'} {what} ({status})")

        session = client.call("GET", "_session")
        name = session.json("_session").get("userCtx", {}).get("name") if session.status == 200 else None
        if name != user:
            reason = " ".join(session.error()) if session.status != 200 else f"the server takes it for {name}"
            raise VerificationError(
                f"{user} cannot log in at {server.url}: {reason}.",
                hint="Is the password right? Do not try again many times: five failures lock the account.",
            )
        proofs.append(f"{user} can log in")
        check(f"read {database}", True, "GET", database, "_all_docs", params={"limit": 0})
        # A local document moves no sequence and is in no feed.
        path = (database, "_local", f"migrator-{secrets.token_hex(8)}")
        check(f"write to {database}", True, "PUT", *path, body=b"{}")
        client.call("DELETE", *path, params={"rev": "0-1"})
        same = json.dumps(security).encode()
        check(f"change who may use {database}", admin, "PUT", database, "_security", body=same)
        check("read the server's settings", False, "GET", "_node", "_local", "_config")
        check("read other users", False, "GET", USERS, "_all_docs", params={"limit": 0})
        neighbours = [n for n in server.databases() if n != database and not n.startswith("_")][:MAX_NEIGHBOURS]
        # A database that names no members is everybody's, which is nothing about this user.
        openly = []
        for name in neighbours:
            found = server.found(f"Reading _security of {name}", name, "_security")
            # Others may delete their databases meanwhile, which says nothing about this user.
            if found is not None and open_to_everybody(found):
                openly.append(name)
            elif found is not None:
                check(f"read {name}", False, "GET", name)
    if faults:
        raise VerificationError(
            f"The user is made, but {'; '.join(faults)}.",
            hint="Look at its roles, at _security and for an admin party; then run secure again.",
        )
    if openly:
        proofs.append(f"everybody, so {user} too, can read {', '.join(map(printable, openly))}")
    return proofs


def _check_names(user: str, roles: Sequence[str]) -> None:
    if not user or user.startswith("_") or ":" in user:
        raise ConfigError(
            f"{shown(user)} is not a legal user name.", hint="It must not contain ':' or begin with '_'."
        )
    for role in roles:
        if not role or role.startswith("_"):
            raise ConfigError(
                f"{shown(role)} is not a role for a job.", hint="Roles that begin with '_' are CouchDB's."
            )


def stored_user(server: Server, user: str) -> dict[str, Any] | None:
    """The document of a user; None where there is none."""
    found: dict[str, Any] | None = server.found(f"Reading the user {user}", USERS, ID_PREFIX + user)
    return found


def _user_document(
    stored: Mapping[str, Any] | None, user: str, password: str | None, roles: Sequence[str]
) -> dict[str, Any]:
    from migrator.couch.users import has_password  # hashes are rarely needed

    document = dict(stored or {"_id": ID_PREFIX + user, "name": user, "type": "user", "roles": []})
    document["roles"] = list(dict.fromkeys([*document.get("roles", []), *roles]))
    if password is not None and not (stored and has_password(stored, password)):
        document["password"] = password
    return document


def secured_to_text(secured: Secured) -> str:
    """The result for people."""
    lines = [f"warning: {printable(text)}" for text in secured.warnings]
    verb = "would" if secured.dry_run else "did"
    lines += [f"{verb}: {printable(text)}" for text in secured.changes or ["nothing; all is as it should be"]]
    lines += [f"proven: {printable(text)}" for text in secured.proofs]
    return "\n".join(lines) + "\n"


def given_password(path: Path | None, environ: Mapping[str, str]) -> str | None:
    """The password of `MIGRATOR_USER_PASSWORD`, or that in the file; None where there is neither.

    Raises:
        ConfigError: the file cannot be read, or is empty.
    """
    if environ.get(VARIABLE):
        return environ[VARIABLE]
    if path is None or not path.exists():
        return None
    text = password_in(path, f"Password file {path}")
    if not text:
        raise ConfigError(f"Password file {path} is empty.", hint="Remove it, and a new password is made.")
    return text


def new_password(path: Path) -> str:
    """Make a password and keep it in a new file that only its owner can read; on disk before it is used.

    Raises:
        ConfigError: the file is there already, or the path is wrong.
        StorageError: there is no room, or no right to write.
    """
    password = secrets.token_urlsafe(PASSWORD_BYTES)
    with writing(path, what="Password file", instead="name another with --password-file"):
        create_whole(path, f"{password}\n")
    return password
