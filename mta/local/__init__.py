"""Mail of programs of this machine: who they are, what they may send as, and what they left while nobody was there."""
