"""The job file: TOML whose keys are the options of a job."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from migrator.config.job import JobConfig
from migrator.config.option import options_of
from migrator.errors import ConfigError

# A job file has a few lines; a larger file is something else.
MAX_FILE_BYTES = 1_000_000
# TOML and people say `from`, which is a word of Python's own.
ALIASES = {"from": "source", "to": "target"}


def load_job_file(path: str, environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Read a job file into fields of JobConfig.

    A value `env:NAME` is taken from the environment, so that no secret stands in the file.

    Raises:
        ConfigError: the file cannot be read, or a key or value is wrong; it names the nearest known key.
    """
    environ = os.environ if environ is None else environ
    try:
        with Path(path).open("rb") as file:
            text = file.read(MAX_FILE_BYTES + 1)
        if len(text) > MAX_FILE_BYTES:
            raise ConfigError(f"{path} is too large for a job file.", hint="Examples lie in configs/.")
        raw = tomllib.loads(text.decode())
    except FileNotFoundError:
        raise ConfigError(f"There is no job file {path}.", hint="Examples lie in configs/.") from None
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(
            f"Job file {path}: {reason}.", hint="It must be TOML; examples lie in configs/."
        ) from None
    kinds = {each.name: each.kind for each in options_of(JobConfig)}
    known = sorted({*kinds, *ALIASES} - set(ALIASES.values()))
    values: dict[str, Any] = {}
    for key, value in raw.items():
        name = ALIASES.get(key.replace("-", "_"), key.replace("-", "_"))
        if name not in kinds:
            near = difflib.get_close_matches(key, known, n=1)
            raise ConfigError(
                f"Job file {path}: there is no key {key!r}.",
                hint=f"Did you mean {near[0]!r}?" if near else f"Known are: {', '.join(known)}.",
            )
        if name in values:
            raise ConfigError(f"Job file {path}: {key!r} is given twice.", hint="Its other names count too.")
        values[name] = _checked(path, key, value, kinds[name], environ)
    return values


def _checked(path: str, key: str, value: Any, kind: str, environ: Mapping[str, str]) -> Any:
    if kind.startswith("tuple"):
        items = [value] if isinstance(value, str) else value
        if isinstance(items, list) and all(isinstance(item, str) for item in items):
            return tuple(_from_environment(path, key, item, environ) for item in items)
        wanted = "a list of texts"
    elif kind.startswith("Mapping"):
        if isinstance(value, dict) and all(isinstance(item, str) for item in value.values()):
            return value
        wanted = "a table of texts"
    elif kind == "bool":
        if isinstance(value, bool):
            return value
        wanted = "true or false"
    elif kind == "str":
        if isinstance(value, str):
            return _from_environment(path, key, value, environ)
        if key.replace("-", "_") == "max_errors" and isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        wanted = "a text"
    else:
        number = (int, float) if kind == "float" else (int,)
        if isinstance(value, number) and not isinstance(value, bool):
            return value
        wanted = "a number"
    raise ConfigError(f"Job file {path}: {key} must be {wanted}.", hint=f"It is {value!r:.60}.")


def _from_environment(path: str, key: str, value: str, environ: Mapping[str, str]) -> str:
    if not value.startswith("env:"):
        return value
    name = value[4:]
    if name not in environ:
        raise ConfigError(
            f"Job file {path}: {key} names the variable {name}, which is not set.", hint=f"Set {name}."
        )
    return environ[name]
