"""Results from elsewhere as trials of a suite."""
