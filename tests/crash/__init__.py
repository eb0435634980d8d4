"""One test for each place where a crash can land (pipeline.md, "Crash points")."""
