"""One function a command, for the command line and Python alike."""
