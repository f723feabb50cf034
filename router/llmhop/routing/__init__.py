"""Routing: which model a request names, and which route that has. Does no I/O."""
