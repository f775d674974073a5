"""``make demo STORES=real``: the whole way through real servers, both environments on one machine."""
