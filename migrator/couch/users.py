"""Fixtures of `_users`: a plain password is hashed by the server, and told again by computing the hash again."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

from migrator.codec import BOOKKEEPING
from migrator.codec.equality import differing_path

USERS = "_users"
ID_PREFIX = "org.couchdb.user:"
# What the server makes of a password.
HASH_FIELDS = frozenset({"password_scheme", "pbkdf2_prf", "salt", "iterations", "derived_key", "password_sha"})


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """The document with what follows from its id or its name."""
    id, name = document.get("_id"), document.get("name")
    if isinstance(id, str) and not id.startswith((ID_PREFIX, "_design/")):
        id = ID_PREFIX + id
    if id is None and isinstance(name, str):
        id = ID_PREFIX + name
    if not isinstance(id, str) or id.startswith("_design/"):
        return document
    given = {key: value for key, value in document.items() if key != "_id"}
    return {"_id": id, "name": id.removeprefix(ID_PREFIX), "type": "user", "roles": [], **given}


def fault(document: Mapping[str, Any]) -> str:
    """Say why the server is sure to refuse a user; "" when nothing is known against it."""
    name = document.get("name")
    if document["_id"] != f"{ID_PREFIX}{name}":
        return f"a user's _id is {ID_PREFIX}<name>, but the name is {name!r} and the _id {document['_id']!r}."
    if document.get("type") != "user":
        return "a user's type is 'user'."
    roles = document.get("roles")
    if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
        return "a user's roles are a list of texts."
    password = document.get("password")
    if password is not None and (not isinstance(password, str) or not password):
        return "a user's password is a text that is not empty; quote a number."
    return ""


def differing(fixture: Mapping[str, Any], there: Mapping[str, Any]) -> str | None:
    """The first path at which a stored user is not what the fixture makes; None when it is."""
    ours = {key: value for key, value in fixture.items() if key not in BOOKKEEPING}
    theirs = {key: value for key, value in there.items() if key not in BOOKKEEPING}
    password = ours.pop("password", None)
    if password is not None:
        theirs = {key: value for key, value in theirs.items() if key not in HASH_FIELDS}
        ours = {key: value for key, value in ours.items() if key not in HASH_FIELDS}
    path = differing_path(ours, theirs, stored=True)
    if path is None and password is not None and not has_password(there, password):
        return "password"
    return path


def has_password(user: Mapping[str, Any], password: str) -> bool:
    """True when a stored user's hash is that of a password."""
    try:
        salt = str(user["salt"]).encode()
        if user.get("password_scheme") == "pbkdf2":
            key = bytes.fromhex(user["derived_key"])
            prf = user.get("pbkdf2_prf", "sha")
            algorithm = "sha1" if prf == "sha" else str(prf)
            made = hashlib.pbkdf2_hmac(algorithm, password.encode(), salt, user["iterations"], len(key))
            return hmac.compare_digest(key, made)
        if user.get("password_scheme") == "simple":
            simple = hashlib.sha1(password.encode() + salt, usedforsecurity=False).hexdigest()
            return hmac.compare_digest(simple, str(user["password_sha"]))
    except (KeyError, TypeError, ValueError, OverflowError):
        # A hash of a form that is not known here is replaced by one that the server makes.
        return False
    return False
