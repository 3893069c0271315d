"""Where frames come from: one file per kind of source. `streamer.address` chooses the kind by the URI."""

from config.plugins import Registry

SOURCES = Registry("source", "streamer.sources")
