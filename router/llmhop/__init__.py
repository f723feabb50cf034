"""llmhop: one port, many models. A router for OpenAI-compatible backends."""

__version__ = "0.1.0"
