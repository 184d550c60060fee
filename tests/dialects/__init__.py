"""The client APIs, function by function: no sockets."""
