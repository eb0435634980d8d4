"""The invariants, one file for each family. Each takes the evidence and says what it counted."""
