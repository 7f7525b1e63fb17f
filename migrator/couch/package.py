"""The `couchdb` package, without what of it takes long to import; its JSON is ours, so that numbers stay exact."""

from __future__ import annotations

import json
import sys

from migrator.codec import decode_value

# To say its own version, which nobody here asks for, the package imports pkg_resources: that takes longer than the
# rest of a start, warns of its end in newer releases, and the package does without where there is none.
_HIDDEN = "pkg_resources"
if _absent := _HIDDEN not in sys.modules:
    sys.modules[_HIDDEN] = None  # type: ignore[assignment]
try:
    import couchdb
    import couchdb.json
finally:
    if _absent:
        del sys.modules[_HIDDEN]


def encoded(value: object) -> str:
    """A value as JSON."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


# The package prefers simplejson when it happens to be installed; the answers must not depend on that.
couchdb.json.use(decode=decode_value, encode=encoded)
Server = couchdb.Server
