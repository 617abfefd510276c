"""Messages as octets: header scanner, edits, trace, report parts.  Bytes in, bytes out; no I/O."""
