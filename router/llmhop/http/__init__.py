"""HTTP/1 messages, read from bytes that come in any pieces and written. Does no I/O."""
