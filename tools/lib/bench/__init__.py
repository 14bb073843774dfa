"""Benchmarks of weir beside other programs, under the same conditions."""
