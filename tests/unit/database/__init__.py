"""Tests of the document store for applications, without a server."""
