"""What cameras see now, for people, programs and the host's own screen."""
