"""Configuration: a schema in which each option explains itself, a loader that tells every mistake at once."""
