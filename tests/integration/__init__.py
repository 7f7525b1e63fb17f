"""Against a real server, named by COUCHDB_TEST_URL."""
