"""Plays the queue forward on a fake clock, with the real scheduler: ``mta simulate``, and a test bed."""
