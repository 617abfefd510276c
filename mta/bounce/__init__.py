"""Reports: who is told what when mail cannot be delivered (RFC 3464, RFC 5321 4.5.5, 6.1)."""
