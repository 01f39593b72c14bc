"""From a suite to trials: configurations, identities, fingerprints, estimates."""
