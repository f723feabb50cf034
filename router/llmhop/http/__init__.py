"""HTTP/1 messages: incremental parsing, and writing. Does no I/O."""
