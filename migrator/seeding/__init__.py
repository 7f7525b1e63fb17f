"""The same data in a database, every time: fixtures read, compared, written, and written back."""
