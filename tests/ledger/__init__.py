"""The ledger and the plugins around it: authentication, limits, prices."""
