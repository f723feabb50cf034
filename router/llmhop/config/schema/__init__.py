"""How keys are declared, each once, and what follows: the check of a config, and its schema."""
