"""The client's side: a connection from a client, and the requests that come on it."""
