"""How releases and state travel: signed bundles, updates that can be undone, backups."""
