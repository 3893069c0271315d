"""Ready-made settings, one YAML file each; `config.loader` reads them by name."""
