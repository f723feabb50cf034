"""One request on its way to a backend, and the response on its way back."""
