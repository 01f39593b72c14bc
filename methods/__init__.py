"""The methods and their baselines, one a module; they need torch and numpy and never import the harness."""
