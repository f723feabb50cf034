"""llmhop as the generator sees it: its routes and settings."""
