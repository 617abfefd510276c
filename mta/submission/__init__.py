"""Mail of those who log in to send it (RFC 6409): in whose name, in what form, and how much of it."""
