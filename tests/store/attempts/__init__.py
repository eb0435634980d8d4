"""Tests of the statements about attempts."""
