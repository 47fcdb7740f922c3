"""Who may call what: the gate, and all that it asks."""
