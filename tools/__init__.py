"""What people run: the command line, training, evaluation, export. Nothing imports this room."""
