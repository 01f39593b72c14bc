"""The pages: what stands on each, in which words, and how templates become files."""
