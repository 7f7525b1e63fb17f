"""What `scripts/bench` measures, and how. Nothing here is timed by a test."""
