"""The command line: one file per command, one table of names."""
