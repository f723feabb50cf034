"""What is known here of llmhop: its routes and settings."""
