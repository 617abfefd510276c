"""The wire, both sides: splitter, grammar, extensions, sessions, client."""
