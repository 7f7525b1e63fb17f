"""Which database goes where: names as they are, mapped one by one or by a pattern, and what stands in the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from migrator.errors import ConfigError
from migrator.naming import legal_database, shown


def target_names(databases: Sequence[str], pairs: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The target's name of each database, and what is wrong with them, as sentences.

    Args:
        databases: names at the source.
        pairs: new names by old ones; `old_*` with `new_*` maps whatever a star stands for.

    Raises:
        ConfigError: a pair is no pair, or fits no database.
    """
    for old, new in pairs.items():
        if old.count("*") != new.count("*") or old.count("*") > 1:
            raise ConfigError(
                f"--map {old}={new} needs one * on both sides, or none.", hint="As in 'old_*=new_*'."
            )
    used = set()
    names = {}
    for name in databases:
        names[name], pair = _mapped(name, pairs)
        used.add(pair)
    if unused := [old for old in pairs if old not in used]:
        raise ConfigError(
            f"--map {unused[0]}={pairs[unused[0]]} fits no database that goes.", hint="Check the name."
        )
    return names, problems_of(names)


def _mapped(name: str, pairs: Mapping[str, str]) -> tuple[str, str]:
    if name in pairs:
        return pairs[name], name
    for old, new in pairs.items():
        head, star, tail = old.partition("*")
        if star and len(name) >= len(head) + len(tail) and name.startswith(head) and name.endswith(tail):
            middle = name[len(head) : len(name) - len(tail)]
            return new.replace("*", middle), old
    return name, ""


def problems_of(names: Mapping[str, str]) -> list[str]:
    """What is wrong with the target's names by those of the source, as sentences."""
    found = []
    owners: dict[str, str] = {}
    for source, target in names.items():
        try:
            legal_database(target, allow_system=False)
        except ConfigError:
            what = f"{shown(source)} would go to {shown(target)}"
            found.append(f"{what}, which is not a legal name: use --map OLD=NEW")
        if (owner := owners.setdefault(target, source)) != source:
            found.append(f"{shown(owner)} and {shown(source)} would both go to {shown(target)}: use --map OLD=NEW")
    return found
