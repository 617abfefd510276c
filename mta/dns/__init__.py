"""DNS behind ``IResolver``: dnspython's resolver on Twisted's sockets, a cache, and a fake for tests."""
