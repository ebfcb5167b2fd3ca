"""Who can publish a challenge: one module per provider."""
