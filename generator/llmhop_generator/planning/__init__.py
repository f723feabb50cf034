"""From what is present to what is wanted: the steps."""
