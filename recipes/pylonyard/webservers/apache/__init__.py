"""Apache: its configuration checked, a private one started, a graceful reload awaited."""
