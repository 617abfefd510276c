"""DKIM (RFC 6376): signing of what leaves, and the keys for it."""
