"""What a host has of ours, read and written."""
