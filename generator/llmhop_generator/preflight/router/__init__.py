"""llmhop's own service: its group, unit and socket, and the secrets that it reads."""
