"""Tests of the way out, against scripted receivers on loopback."""
