"""Finds the files of a source: one, or a folder with one for each collection."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from migrator.errors import ConfigError
from migrator.extractors.remote import FilePath
from migrator.naming import collection_name, shown


def find_files(
    path: FilePath,
    suffixes: Sequence[str],
    *,
    any_name: bool = False,
    kind: str = "",
    note: Callable[[Sequence[FilePath]], str] = lambda _: "",
) -> dict[str, FilePath]:
    """The files by collection, sorted; a file's name without its suffix is its collection's.

    Args:
        path: a file or folder.
        suffixes: in lower case, longer ones of the same end first.
        any_name: a single file may have any name.
        kind: what such files are called.
        note: what else to say where a folder has none of them, by what it has.

    Raises:
        ConfigError: nothing is there, or nothing of that kind, or two files of one collection.
    """
    expected = f"Expected: <collection>{', '.join(suffixes)}."
    if not path.exists():
        raise ConfigError(
            f"There is no file or folder {path}.", hint="Look at the path, and at the folder it starts from."
        )
    if not path.is_dir():
        stem = _stem(path.name, suffixes) or (path.name.partition(".")[0] if any_name else "")
        if not stem:
            if kind:
                raise ConfigError(f"{path} is not {kind} by its name.", hint=expected)
            raise ConfigError(f"{path} is by its name none of these files.", hint=expected)
        return {collection_name(stem): path}
    files: dict[str, FilePath] = {}
    try:
        entries: list[FilePath] = sorted(path.iterdir(), key=lambda entry: entry.name)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.", hint="Look at its permissions.") from error
    for entry in entries:
        stem = _stem(entry.name, suffixes)
        if not stem or entry.is_dir():
            continue
        if not entry.exists():
            raise ConfigError(f"{entry} is a link to a file that is not there.", hint="Fix the link or remove it.")
        collection = collection_name(stem)
        other = files.setdefault(collection, entry)
        if other is not entry:
            raise ConfigError(
                f"{other} and {entry} are both files of the collection {shown(collection)}.",
                hint="Remove one of them.",
            )
    if not files:
        unfinished = [entry.name for entry in entries if entry.name.endswith(".part")]
        found = f"; {unfinished[0]} was left by a run that did not finish" if unfinished else ""
        none = f"no {kind} file" if kind else "none of these files"
        raise ConfigError(f"The folder {path} has {none}{found}.", hint=expected + note(entries))
    return {collection: files[collection] for collection in sorted(files)}


def _stem(name: str, suffixes: Sequence[str]) -> str:
    # Names that begin with a dot are other programs' notes, such as the ._x.ndjson of macOS.
    if name.startswith("."):
        return ""
    for suffix in suffixes:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return ""
