"""Dispatch: grant starts, claim jobs for them, insert their attempts and send the doorbells."""
