"""Attention weights of plain ViTs: taken, reduced to figures and maps, and drawn."""
