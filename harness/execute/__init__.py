"""From a plan to outcomes: dispatch, workers, executors, environment."""
