"""Every option of training: its declaration, its presets, and its way through YAML files."""
