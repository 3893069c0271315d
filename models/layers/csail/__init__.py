"""The public ADE20K segmenters of the MIT scene-parsing project, with the parameter names of their checkpoints."""
