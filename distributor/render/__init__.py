"""Plan and report for people and programs: text, JSON, and what shows while a run goes on."""
