# Nothing: a machine on which hx has never run.
