"""What becomes of a request: which model it names, and which route that is. Does no I/O."""
