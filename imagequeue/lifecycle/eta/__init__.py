"""What waiting jobs may expect: position and time."""
