"""A small document store with one face over memory and CouchDB, as applications use it.

>>> from migrator.database import Settings, get_database_service
>>> service = get_database_service(Settings(DATABASE_PROVIDER="memory"))
>>> saved = service.save("agents", "a-1", {"name": "Ada"})
>>> service.get("agents", "a-1")
{'_id': 'a-1', 'name': 'Ada'}
>>> len(service.find("agents", {"name": {"$in": ["Ada", "Grace"]}}))
1

A document comes out with its id as `_id`, and of CouchDB with its revision as `_rev`; it goes in with them or
without. What is given in is copied and not changed, what comes out is a copy. `get` and `delete` raise
`DocumentNotFound` for what is missing.
"""

from migrator.database.couch import CouchDatabase, CouchDBService
from migrator.database.memory import MemoryDatabase, MemoryDBService
from migrator.database.service import DatabaseService, Documents, Row, Saved
from migrator.database.settings import Settings, get_database_service
from migrator.errors import DatabaseError, DocumentConflict, DocumentNotFound

__all__ = [
    "CouchDBService",
    "CouchDatabase",
    "DatabaseError",
    "DatabaseService",
    "DocumentConflict",
    "DocumentNotFound",
    "Documents",
    "MemoryDBService",
    "MemoryDatabase",
    "Row",
    "Saved",
    "Settings",
    "get_database_service",
]
