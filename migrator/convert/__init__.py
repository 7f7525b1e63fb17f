"""Files that other CouchDB tools write and read: couchbackup, couchdb-dump, couchdb-python, dumps by curl."""
