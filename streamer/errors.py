"""Every error of Scene Streamer:

    SceneStreamerError              anything that goes wrong inside Scene Streamer
    ├── UserError                   the user can mend it: one line that says what to do, no traceback
    │   ├── ConfigError             a setting that does not exist or cannot have that value
    │   ├── UnknownPluginError      a plug-in name that no file answers to
    │   ├── UnknownLabelError       a label list, or a name in one, that does not exist
    │   ├── MissingLibraryError     a plug-in whose library is not installed
    │   ├── ModelError              a model that is missing, damaged, or does not fit what is asked of it
    │   ├── SourceError             a source that cannot be opened or read
    │   │   ├── SourceLost          a live source that worked and went silent; opening it again may help
    │   │   └── TruncatedError      a recording that ends before its own index says
    │   ├── AddressInUse            a bus address that another program holds
    │   ├── AddressRefused          a bus address that cannot or must not be bound
    │   ├── OutputError             a file that cannot be written
    │   ├── ManifestError           tools: a list of pictures, or what it names, that cannot be used
    │   ├── TruthError              tools: a truth file that is missing, damaged, or not its video's
    │   ├── DownloadError           tools: a file that cannot be had from its address
    │   │   └── GoneError           tools: its server no longer has it
    │   └── ArchiveError            tools: an archive that is damaged or must not be unpacked
    ├── MessageError                bytes from the bus that are no message of protocol version 1
    ├── ActionError                 a webhook or a command of a rule that failed; logged, the run goes on
    ├── ChannelClosed               the other end of a channel is gone
    └── StuckError                  a thread hangs in a library call; only a hard exit ends it

Those of tools stand in the files that raise them, since arrows of import go one way. Third-party exceptions are wrapped
where they arise; no caller needs to know the library below.
"""

from __future__ import annotations

from config.errors import ConfigError, SceneStreamerError, UnknownPluginError, UserError
from models.errors import ModelError


class SourceError(UserError):
    """A source that cannot be opened or read."""


class SourceLost(SourceError):
    """A live source that worked and went silent; opening it again may help."""


class TruncatedError(SourceError):
    """A recording that ends before its own index says; everything before that was delivered."""


class AddressInUse(UserError):
    """A bus address that another program holds."""


class AddressRefused(UserError):
    """A bus address that cannot or must not be bound."""


class OutputError(UserError):
    """A file that cannot be written."""


class MessageError(SceneStreamerError):
    """Bytes from the bus that are no message of protocol version 1."""


class ActionError(SceneStreamerError):
    """A webhook or a command of a rule that failed; it is logged, and the run goes on."""


class ChannelClosed(SceneStreamerError):
    """The other end of a channel is gone."""


class StuckError(SceneStreamerError):
    """A thread hangs in a library call that cannot be interrupted; only a hard exit ends it."""


__all__ = [
    "ActionError",
    "AddressInUse",
    "AddressRefused",
    "ChannelClosed",
    "ConfigError",
    "MessageError",
    "ModelError",
    "OutputError",
    "SceneStreamerError",
    "SourceError",
    "SourceLost",
    "StuckError",
    "TruncatedError",
    "UnknownPluginError",
    "UserError",
]
