"""Several processes on the same endpoints: docs/decisions/workers.rst.  With ``workers = 1`` nothing here runs."""
