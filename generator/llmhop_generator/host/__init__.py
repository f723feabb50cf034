"""What the host offers: processes, files, systemd, Podman."""
