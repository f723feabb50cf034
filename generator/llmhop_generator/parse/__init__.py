"""A configuration read, and judged as a whole."""
