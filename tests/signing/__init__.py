"""Tests of keys, tokens and signatures."""
