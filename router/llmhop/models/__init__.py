"""The models that are served: their replicas, which of them is next, the gate before them."""
