"""Arguments in, exit code out. At the top of these modules only click and the standard library."""
