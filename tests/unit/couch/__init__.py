"""The room that speaks to CouchDB."""
