"""What a run keeps on disk: replies, plan, records and failures."""
