"""The public models and data sets: their addresses, downloads, and what becomes of them on this machine."""
