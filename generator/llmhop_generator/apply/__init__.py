"""Brings a host to what a configuration describes."""
