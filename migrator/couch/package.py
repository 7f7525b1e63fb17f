"""Imports the `couchdb` package, without what it imports for its version alone."""

from __future__ import annotations

import sys

# To say its own version, which nobody here asks for, it imports pkg_resources: that takes longer than all the
# rest of a start, warns of its end in newer releases, and the package does without where there is none.
_HIDDEN = "pkg_resources"
_absent = _HIDDEN not in sys.modules
if _absent:
    sys.modules[_HIDDEN] = None  # type: ignore[assignment]
try:
    import couchdb
    import couchdb.json
finally:
    if _absent:
        del sys.modules[_HIDDEN]

__all__ = ["couchdb"]
