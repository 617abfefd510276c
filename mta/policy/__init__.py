"""Verdicts on connection, greeting, sender, recipient, message and dispatch: what policies see, and who asks them."""
