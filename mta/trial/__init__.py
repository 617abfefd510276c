"""A configuration on trial: what it would do with a message, without taking one (``mta route``, tests of it)."""
