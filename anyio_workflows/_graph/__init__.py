"""What the steps of a workflow amount to: where events go, whether that can work, and how it looks."""
