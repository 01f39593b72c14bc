"""From a suite to trials: cells, identities, fingerprints, estimates."""
