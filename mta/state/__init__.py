"""Small state that outlives a restart: counters and marks that expire (``mta.interfaces.IState``)."""
