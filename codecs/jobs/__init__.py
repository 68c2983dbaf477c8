"""What the subcommands of `echoic codec` do, from what was typed to the exit code."""
