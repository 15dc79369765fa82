"""What the command line does: one file per command, each with its parser (`add`) and what it runs."""
