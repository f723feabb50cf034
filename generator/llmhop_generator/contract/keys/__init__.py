"""Which keys a deployer may add to units: what Podman and systemd accept, and llmhop relies on."""
