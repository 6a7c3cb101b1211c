"""Students of a wanted size."""
