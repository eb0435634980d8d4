"""The simulator, tested over real sockets."""
