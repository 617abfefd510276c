"""The queue: when each recipient is tried, and how much at once.  schedule, destination and retry are pure."""
