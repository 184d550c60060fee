"""The bundled provider that answers without a key and without a network."""
