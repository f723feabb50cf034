"""Validates flags with the vLLM of an image."""
