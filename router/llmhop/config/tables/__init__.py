"""Tables of keys within the configuration."""
