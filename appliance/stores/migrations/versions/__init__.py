"""The first form on; what is here once is not changed again."""
