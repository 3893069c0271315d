"""What rules do besides the event on the bus: `webhook.py`, `command.py`, and `runner.py`, whose thread runs them."""
