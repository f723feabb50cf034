"""The status of models, and why one is not up."""
