"""Tests of what the sandbox is made of, without a server."""
