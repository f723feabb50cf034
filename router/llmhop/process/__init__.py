"""One process that serves: its life, its listeners, and what it says to systemd."""
