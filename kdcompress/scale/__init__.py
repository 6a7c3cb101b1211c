"""Many runs: the cells of a suite over processes."""
