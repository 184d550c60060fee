"""The contract over sockets: who may call, headers, errors, and whatever bytes somebody may send."""
