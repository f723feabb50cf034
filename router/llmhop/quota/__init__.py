"""What clients with a name may use: requests at once, requests and tokens a minute."""
