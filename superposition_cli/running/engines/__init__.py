"""Who trains the chunks: this process, or others."""
