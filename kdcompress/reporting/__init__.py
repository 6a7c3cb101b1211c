"""From result files to markdown, CSV and HTML with plots (no torch)."""
