"""The command `llmhop-generator`."""
