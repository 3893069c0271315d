"""Test videos made of labelled pictures, whose truth is known to the tick, and how steady a model is on them."""
