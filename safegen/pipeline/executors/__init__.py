"""Executors of shards: this machine, with asyncio."""
