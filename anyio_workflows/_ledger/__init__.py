"""What one run knows: it decides and never waits."""
