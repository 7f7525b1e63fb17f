"""What commands about a place of backups share: its flags, and sizes and lines as they are printed."""

from __future__ import annotations

from collections.abc import Sequence

from migrator.backup.options import RestoreOptions
from migrator.cli.flags import flags
from migrator.config.option import CHOICE

from_option = flags(RestoreOptions, "place")
at_option = flags(RestoreOptions, "at")
identity_option = flags(RestoreOptions, "identity")
database_option = flags(
    RestoreOptions,
    "databases",
    help={"databases": CHOICE},
    default={"databases": ""},
)


def readable(size_bytes: int) -> str:
    """A length in the unit that suits it."""
    size = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"


def lines_text(lines: Sequence[str]) -> str:
    """Lines as they are printed."""
    return "".join(f"{line}\n" for line in lines)
