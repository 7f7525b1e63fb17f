"""Unit tests of what is fetched by name: modules and other distributions."""
