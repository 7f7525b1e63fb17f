"""A small document store with one face over memory and CouchDB, as applications use it.

>>> from migrator.database import Settings, get_database_service
>>> service = get_database_service(Settings(database_provider="memory"))
>>> saved = service.save("agents", "a-1", {"name": "Ada"})
>>> service.get("agents", "a-1")
{'name': 'Ada'}

Documents go in and come out without `_id` and `_rev`: the id is the key. What is given in is copied, what comes
out is a copy. `get` and `delete` raise `DocumentNotFound` for what is missing.
"""

from migrator.database.couch import CouchDatabase
from migrator.database.memory import MemoryDatabase
from migrator.database.service import DatabaseService
from migrator.database.settings import Settings, get_database_service
from migrator.errors import DatabaseError, DocumentConflict, DocumentNotFound

__all__ = [
    "CouchDatabase",
    "DatabaseError",
    "DatabaseService",
    "DocumentConflict",
    "DocumentNotFound",
    "MemoryDatabase",
    "Settings",
    "get_database_service",
]
