"""Alignment of a labelled source domain with a sparsely labelled target domain."""
