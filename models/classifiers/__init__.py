"""From pictures and semantics to scenes: one file per classifier."""
