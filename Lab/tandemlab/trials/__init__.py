"""What a running pair with a connected client must bear, a file for each kind of trial."""
