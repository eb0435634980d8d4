"""One module for each upstream service; the registry finds them."""
