"""One file per format that other CouchDB tools write and read, and one table of them."""
