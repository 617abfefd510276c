"""SASL mechanisms (RFC 4422), pure: octets in, octets out."""
