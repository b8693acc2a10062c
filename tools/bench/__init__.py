"""`make bench`: how fast the page and the networks behind it are, in one table. Timings are of this machine, now.

A module of this package that has `rows() -> Iterator[Row]` is a part of the benchmark and is found by itself.
"""
