"""One module for each dialect. The registry finds them: nothing imports one."""
