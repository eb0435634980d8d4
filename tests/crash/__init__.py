"""One test for each place where a crash can land (docs/reliability.md, "Crash points")."""
