"""The command line: click and display, no arithmetic."""
