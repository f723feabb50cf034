"""The state that llmhop keeps on a host, read and written."""
