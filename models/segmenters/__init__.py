"""From pictures to class scores: one file per segmenter."""
