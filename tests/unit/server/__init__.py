"""The move of a whole server, without one."""
