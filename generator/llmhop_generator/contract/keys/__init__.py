"""What Podman and systemd take of the keys that a deployer adds, and llmhop can do with."""
