"""Where an address leads: pure decisions that return their result with reasons, or the questions they have."""
