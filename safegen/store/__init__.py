"""Files of a run: journal of replies, plan, records and failures."""
