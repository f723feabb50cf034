"""The connections to one address of a backend: pooled, made, probed and taken out of service."""
