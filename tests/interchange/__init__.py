"""What other tools write and read, recorded and tried."""
