"""What a configuration may hold."""
