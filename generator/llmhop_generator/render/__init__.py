"""What a configuration becomes: units and llmhop's configuration."""
