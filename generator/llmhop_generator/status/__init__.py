"""How models are, and why one is not up."""
