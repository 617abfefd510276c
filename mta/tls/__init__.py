"""TLS: certificates and contexts of the server side; the client side is in client.py."""
