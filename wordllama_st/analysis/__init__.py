"""Looking into a model: which tokens make two texts similar, and what is odd about a token table."""
