"""A local CouchDB-compatible server (PouchDB Server) for people and tests that have no CouchDB at hand.

It differs from CouchDB: numeric sequences, no `_up`, other revision hashes, no partitions, no login lock.
"""

from migrator.sandbox.server import Sandbox

__all__ = ["Sandbox"]
