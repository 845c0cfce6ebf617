"""Worker applications ready to run. They import the public `taskq` only, as any program of a user would."""
