"""Normalization layers: for sequences (T, B, C) with padding masks and for images (B, C, H, W) with holes."""
