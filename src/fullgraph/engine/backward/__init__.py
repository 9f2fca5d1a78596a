"""What backward relies on: whether a gradient may be overwritten, what torch saves, and running code as it ran."""
