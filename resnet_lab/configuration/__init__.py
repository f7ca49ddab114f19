"""What a run is, as one validated value, and what it is known by. No torch is needed here."""
