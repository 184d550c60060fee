"""What the router costs, against a bare aiohttp relay in the same run: `make bench`."""
