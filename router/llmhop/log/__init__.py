"""The log: lines on standard error, written so that nothing waits for a reader."""
