"""The spool: what was accepted is here until it has ended.  ``ISpool`` in mta/interfaces.py is the contract."""
