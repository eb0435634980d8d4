"""Benchmarks. `make bench [ROWS=a,b] [RUNS=n]` runs rows, each on its own servers, and prints one table."""
