"""Unit tests of metrics, pings and runs on a timer."""
