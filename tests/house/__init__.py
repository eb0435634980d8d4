"""The laws of the house: what everything around the code promises."""
