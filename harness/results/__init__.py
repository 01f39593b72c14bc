"""The reading side: what is stored, exported, compared and served."""
