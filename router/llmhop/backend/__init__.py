"""The backends of the models: their replicas, which of them is next, and their limits."""
