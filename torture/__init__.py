"""Torture: checks of annotate that take minutes or hours. `make torture` runs them all.

`python -m torture --help` lists them; the tests in `tests/` run a short form of each.
"""
