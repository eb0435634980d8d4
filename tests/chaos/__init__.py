"""The chaos checker is a program too."""
