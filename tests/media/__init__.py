"""Storage, spill and images."""
