"""Where shards run: on this machine with asyncio."""
