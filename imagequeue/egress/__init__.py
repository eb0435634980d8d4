"""The way out: destinations that clients choose, and the deadline that every call to others is under."""
