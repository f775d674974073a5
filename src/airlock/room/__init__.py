"""The sealed room: namespace, counters, names, gateway, runtime."""
