"""Numbers at the edges of the rule of `migrator.couch.revision`."""

from __future__ import annotations

EDGE_INTEGERS = (0, 1, 255, 256, -1, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1)
"""Where Erlang writes integers in another way."""
