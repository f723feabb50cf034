"""Bodies: how they come, and where each kind of them names its model."""
