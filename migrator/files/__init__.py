"""Files of this machine: written whole and durably, and what to say where that cannot be done."""
