"""The only room that speaks to CouchDB: transport, error translation, bulk rows, revision arithmetic."""
