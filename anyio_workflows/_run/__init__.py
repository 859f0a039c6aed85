"""What happens: the only core package that awaits."""
