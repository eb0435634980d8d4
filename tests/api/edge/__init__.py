"""Tests of the HTTP edge, by raw sockets."""
