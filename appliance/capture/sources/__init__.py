"""One module for each kind of source; each offers `SOURCE`."""
