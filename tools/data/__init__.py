"""Labelled pictures, as training and evaluation read them."""
