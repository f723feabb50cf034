"""Several processes that serve the same addresses, and the one that starts and watches them."""
