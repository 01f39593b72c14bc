"""Where data sets are, how they are fetched and verified, and what identifies them."""
