"""Where a bundle comes from, one module per source; strangers to each other."""
