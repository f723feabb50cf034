"""Whether a host is ready for a configuration."""
