"""The functions of the package, as a program calls them."""
