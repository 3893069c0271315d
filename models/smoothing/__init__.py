"""Smoothing over time: one file per smoother."""

from config.plugins import Registry

SMOOTHERS = Registry("smoother", "models.smoothing")
