"""Kinds of host, one driver each; strangers to each other."""
