"""The invariants, a file for each family. Each is a function from the evidence to a finding."""
