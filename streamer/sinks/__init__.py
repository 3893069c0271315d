"""Where results go besides the bus: one file per sink."""

from config.plugins import Registry

SINKS = Registry("sink", "streamer.sinks")
