"""Recorded answers and the rules of the documents, a folder for each provider."""
