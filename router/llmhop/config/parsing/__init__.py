"""The shape of the configuration: its keys, and the parser that finds every problem at once."""
