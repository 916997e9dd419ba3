"""The command line, one file a command. Commands parse and print; they import what they need when they are called."""
