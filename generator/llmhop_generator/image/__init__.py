"""What the vLLM of an image says of its flags."""
