"""What operators use: log, watchdog, control socket, command line."""
