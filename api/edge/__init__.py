"""The HTTP edge: what a connection may cost before anybody knows who sends.

uvicorn parses and serves; `protocol.py` stands in front of its parser, and lets one request after the other
through, each checked and bounded.
"""
