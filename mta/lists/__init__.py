"""Mailing lists (RFC 5321 3.9.2): who may post, who the members are, what a message gets, and how it goes to them all.

``values`` is what a list is; ``posting`` decides at RCPT; ``roster`` reads the members; ``fields`` makes the header
fields; ``spread`` is the delivery service that turns a message to a list into one to its members.
"""
