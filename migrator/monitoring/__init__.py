"""What a monitoring system receives about runs: metrics, and pings of a watchdog."""
