"""What setup.cfg cannot say: the compiled part, without which everything works too, more slowly."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension("migrator.couch._terms", ["migrator/couch/_terms.c"], py_limited_api=True, optional=True),
    ],
)
