"""Bodies: their transfer codings, and where each media type names the model."""
