"""Of the codec."""
