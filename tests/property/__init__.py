"""What holds for every input, tried with many."""
