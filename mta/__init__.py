"""txmta: a mail transfer agent on Twisted.  The way of one message is told in README.rst."""

__version__ = "0.1.0"
