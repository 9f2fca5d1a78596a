"""What backward relies on: whether a gradient may be overwritten, and running forward's code as it ran."""
