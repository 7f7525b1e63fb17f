"""Keeps a target up to date: only what changed since the last run, by following, or by CouchDB's replicator."""
