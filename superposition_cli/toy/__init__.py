"""What a toy model is, draws, descends and is judged by; no disk, clock, terminal or YAML."""
