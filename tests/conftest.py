"""What holds for every test."""

from hypothesis import settings

# Time is no rule of a test: a machine may be busy.
settings.register_profile("llmhop", deadline=None)
settings.load_profile("llmhop")
