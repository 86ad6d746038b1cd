"""How an activation store is laid out, written and read; `cofactor.store` is its face."""
