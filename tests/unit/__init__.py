"""One module at a time, without network or waiting."""
