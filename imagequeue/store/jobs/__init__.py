"""Statements about jobs: from insert to retention."""
