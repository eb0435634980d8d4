"""Benchmarks: `make bench [ROWS=a,b] [RUNS=n]` runs rows on servers of their own and prints one table."""
