"""Drawings of rows, as Plotly figures and as plain elements."""
